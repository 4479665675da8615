"""Estimators of information, as functions of tensors: no program and no Pyro, everything in nats."""

from ib_pyro.information.decomposition import RateDecomposition, rate_decomposition
from ib_pyro.information.density_ratio import (
    DensityRatioCritic,
    critic_loss,
    critic_step,
    critic_total_correlation,
    permute_dims,
)
from ib_pyro.information.gaussian_estimate import gaussian_total_correlation, gaussian_total_correlation_null
from ib_pyro.information.importance import effective_sample_size, importance_weighted_bound
from ib_pyro.information.minibatch import (
    AggregatePosterior,
    minibatch_aggregate_posterior,
    minibatch_log_weights,
    minibatch_total_correlation,
)
from ib_pyro.information.mutual_information import (
    info_nce_lower_bound,
    label_entropy,
    leave_one_out_upper_bound,
    predictive_information_lower_bound,
)

__all__ = [
    "AggregatePosterior",
    "DensityRatioCritic",
    "RateDecomposition",
    "critic_loss",
    "critic_step",
    "critic_total_correlation",
    "effective_sample_size",
    "gaussian_total_correlation",
    "gaussian_total_correlation_null",
    "importance_weighted_bound",
    "info_nce_lower_bound",
    "label_entropy",
    "leave_one_out_upper_bound",
    "minibatch_aggregate_posterior",
    "minibatch_log_weights",
    "minibatch_total_correlation",
    "permute_dims",
    "predictive_information_lower_bound",
    "rate_decomposition",
]
