"""Evidence lower bounds with a weighted rate."""

from ib_pyro.elbo.capacity import CapacityELBO, FreeBitsELBO
from ib_pyro.elbo.captured_loss import CapturedLoss, captured
from ib_pyro.elbo.importance_weighted import ImportanceWeightedELBO
from ib_pyro.elbo.information_bottleneck import InformationBottleneckELBO
from ib_pyro.elbo.penalties import Capacity, FreeBits
from ib_pyro.elbo.site_rate import MissingKLError
from ib_pyro.elbo.terms import Terms
from ib_pyro.elbo.total_correlation import (
    CriticTotalCorrelation,
    GaussianTotalCorrelation,
    MinibatchTotalCorrelation,
)

__all__ = [
    "Capacity",
    "CapacityELBO",
    "CapturedLoss",
    "CriticTotalCorrelation",
    "FreeBits",
    "FreeBitsELBO",
    "GaussianTotalCorrelation",
    "ImportanceWeightedELBO",
    "InformationBottleneckELBO",
    "MinibatchTotalCorrelation",
    "MissingKLError",
    "Terms",
    "captured",
]
