"""Estimators of information, as pure functions of tensors: no effects, everything in nats."""

from ib_pyro.information.decomposition import RateDecomposition, rate_decomposition
from ib_pyro.information.density_ratio import (
    DensityRatioCritic,
    critic_loss,
    critic_step,
    critic_total_correlation,
    permute_dims,
)
from ib_pyro.information.gaussian import gaussian_total_correlation, gaussian_total_correlation_null
from ib_pyro.information.minibatch import (
    AggregatePosterior,
    minibatch_aggregate_posterior,
    minibatch_log_weights,
    minibatch_total_correlation,
)

__all__ = [
    "AggregatePosterior",
    "DensityRatioCritic",
    "RateDecomposition",
    "critic_loss",
    "critic_step",
    "critic_total_correlation",
    "gaussian_total_correlation",
    "gaussian_total_correlation_null",
    "minibatch_aggregate_posterior",
    "minibatch_log_weights",
    "minibatch_total_correlation",
    "permute_dims",
    "rate_decomposition",
]
