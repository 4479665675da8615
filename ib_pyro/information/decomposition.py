"""The rate as index-code mutual information, total correlation and dimension-wise KL."""

from typing import NamedTuple

import torch
from torch import Tensor

from ib_pyro.information.minibatch import minibatch_aggregate_posterior
from ib_pyro.precision import single_or_wider

__all__ = ["RateDecomposition", "rate_decomposition"]


class RateDecomposition(NamedTuple):
    """Three terms that sum to the rate, in nats per sample."""

    mutual_information: Tensor
    """Index-code mutual information ``E[log q(z|x) - log q(z)]``, ``[...]``."""
    total_correlation: Tensor
    """``E[log q(z) - sum_j log q(z_j)]``, ``[...]``."""
    dimension_wise_kl: Tensor
    """``E[log q(z_j) - log p(z_j)]`` for each unit, ``[..., d]``."""

    @property
    def rate(self) -> Tensor:
        """Sum of the terms, which is ``E[log q(z|x) - log p(z)]`` over the same samples, ``[...]``."""
        return self.mutual_information + self.total_correlation + self.dimension_wise_kl.sum(-1)


def rate_decomposition(
    log_q_z_given_x: Tensor, log_prior: Tensor, dataset_size: int, *, method: str = "stratified"
) -> RateDecomposition:
    r"""Split the rate of a factorised posterior and prior into what it pays for.

    .. math::
        E_x KL\Big(q(z|x) \,\Big\|\, \prod_j p(z_j)\Big)
        = I(x; z) + TC(z) + \sum_j KL(q(z_j) \,\|\, p(z_j))

    Chen et al. (2018), eq. (2). Whatever the estimate of the aggregate posterior, it cancels in the sum:
    the terms add up to the Monte Carlo rate over the same samples exactly.

    Args:
        log_q_z_given_x: ``log q(z_ij | x_k)``, ``[..., B (samples i), B (data points k), d (units j)]``.
        log_prior: ``log p(z_ij)``, ``[..., B, d]``.
        dataset_size: Number N of data points.
        method: Estimator of the aggregate posterior; see
            :func:`~ib_pyro.information.minibatch_log_weights`.

    Returns:
        The terms, nats per sample, means over the batch; float32 for the half types.

    Raises:
        ValueError: The two shapes do not match, or as
            :func:`~ib_pyro.information.minibatch_aggregate_posterior`.
    """
    aggregate = minibatch_aggregate_posterior(log_q_z_given_x, dataset_size, method=method)
    if log_prior.shape[-2:] != aggregate.marginals.shape[-2:]:
        raise ValueError(
            f"log_prior must be [..., B, d] = [..., {', '.join(map(str, aggregate.marginals.shape[-2:]))}] "
            f"to match log_q_z_given_x; got shape {tuple(log_prior.shape)}"
        )
    log_prior = single_or_wider(log_prior)
    conditional = torch.diagonal(single_or_wider(log_q_z_given_x), dim1=-3, dim2=-2).sum(-2)
    return RateDecomposition(
        mutual_information=(conditional - aggregate.joint).mean(-1),
        total_correlation=aggregate.total_correlation,
        dimension_wise_kl=(aggregate.marginals - log_prior).mean(-2),
    )
