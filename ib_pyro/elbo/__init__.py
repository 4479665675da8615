"""Evidence lower bounds with a weighted rate."""

from ib_pyro.elbo.capacity import CapacityELBO, FreeBitsELBO
from ib_pyro.elbo.information_bottleneck import InformationBottleneckELBO, Terms
from ib_pyro.elbo.terms import MissingKLError
from ib_pyro.elbo.total_correlation import (
    CriticTotalCorrelation,
    GaussianTotalCorrelation,
    MinibatchTotalCorrelation,
)

__all__ = [
    "CapacityELBO",
    "CriticTotalCorrelation",
    "FreeBitsELBO",
    "GaussianTotalCorrelation",
    "InformationBottleneckELBO",
    "MinibatchTotalCorrelation",
    "MissingKLError",
    "Terms",
]
