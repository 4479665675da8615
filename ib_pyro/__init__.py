"""The information bottleneck as probabilistic programs in Pyro."""

from importlib import import_module
from types import ModuleType

from ib_pyro._version import __version__
from ib_pyro.bottleneck import Bottleneck
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.export import to_arviz
from ib_pyro.handlers import noise_off

__all__ = ["Bottleneck", "InformationBottleneckELBO", "__version__", "noise_off", "to_arviz"]

SUBMODULES = frozenset(
    {
        "atoms",
        "bounds",
        "buffers",
        "checks",
        "data",
        "dependence",
        "diagnostics",
        "distributions",
        "elbo",
        "export",
        "handlers",
        "information",
        "likelihoods",
        "nn",
        "oracle",
        "parameters",
        "particles",
        "plots",
        "precision",
        "rates",
        "sites",
        "traces",
    }
)


def __getattr__(name: str) -> ModuleType:
    """Import a submodule when it is first looked at: some take a second, and not everybody needs them."""
    if name in SUBMODULES:
        return import_module(f"ib_pyro.{name}")
    raise AttributeError(
        f"module 'ib_pyro' has no attribute {name!r}; it has {sorted({*__all__, *SUBMODULES})}"
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *SUBMODULES})
