"""The information bottleneck as probabilistic programs in Pyro."""

from ib_pyro._version import __version__
from ib_pyro.bottleneck import Bottleneck
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.export import to_arviz
from ib_pyro.handlers import noise_off

__all__ = ["Bottleneck", "InformationBottleneckELBO", "__version__", "noise_off", "to_arviz"]
