"""Contracts that a layer, a distribution or a KL divergence of one's own can be held to, in any test runner."""

from ib_pyro.testing.distribution_contract import check_distribution
from ib_pyro.testing.layer_contract import check_layer
from ib_pyro.testing.rate_contract import check_rate

__all__ = ["check_distribution", "check_layer", "check_rate"]
