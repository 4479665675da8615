"""Aggregate posterior q(z) = E_x q(z|x) and its total correlation, estimated from one minibatch."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ib_pyro.choices import require_known
from ib_pyro.precision import single_or_wider

__all__ = [
    "AggregatePosterior",
    "minibatch_aggregate_posterior",
    "minibatch_log_weights",
    "minibatch_total_correlation",
]


class AggregatePosterior(NamedTuple):
    """Estimated log densities of the aggregate posterior at the samples of a minibatch, in nats."""

    joint: Tensor
    """``log q(z_i)``, ``[..., B]``."""
    marginals: Tensor
    """``log q(z_ij)`` for each unit, ``[..., B, d]``."""

    @property
    def product(self) -> Tensor:
        """``log prod_j q(z_ij)``, ``[..., B]``."""
        return self.marginals.sum(-1)

    @property
    def total_correlation(self) -> Tensor:
        """``mean_i (log q(z_i) - log prod_j q(z_ij))``, nats, shape ``[...]``."""
        return (self.joint - self.product).mean(-1)


def minibatch_log_weights(
    log_q_z_given_x: Tensor, dataset_size: int, *, method: str = "stratified"
) -> Tensor:
    r"""Log-weights with which the conditionals of a minibatch make up the aggregate posterior.

    The sample in row i was drawn from the conditional of column i, and the B columns are distinct members
    of a data set of N. ``"stratified"`` counts the own conditional once in N, where it belongs, and lets
    the B - 1 others stand for the N - 1 that remain,

    .. math::
        w_{ii} = \frac1N, \qquad w_{ik} = \frac{N - 1}{N (B - 1)},

    so that :math:`\sum_k w_{ik} q(z_i | x_k)` is unbiased for :math:`q(z_i)`, and exact for B = N. Chen et
    al. (2018), appendix C, give one arbitrary other column a weight of its own; these weights are the
    average over that choice, with the same expectation and less variance. ``"weighted"`` is their biased
    :math:`w_{ik} = 1 / (N B)`.

    Args:
        log_q_z_given_x: ``[..., B, B, d]``; only its shape, type and device are used.
        dataset_size: Number N of data points that x is drawn from, at least B.
        method: ``"stratified"`` or ``"weighted"``.

    Returns:
        ``[B, B]``, in the type of ``log_q_z_given_x``, but float32 for the half types.

    Raises:
        ValueError: The matrix is not square in its sample dimensions, ``dataset_size`` is below the batch
            size, or the method is unknown.
    """
    batch, like = _batch_size(log_q_z_given_x), single_or_wider(log_q_z_given_x[..., :0])
    if dataset_size < batch:
        raise ValueError(
            f"dataset_size {dataset_size} is below the batch size {batch}; pass the size of the whole set"
        )
    if method == "weighted":
        return like.new_full((batch, batch), -math.log(dataset_size * batch))
    require_known("method=", method, ("stratified", "weighted"))
    if batch == 1 and dataset_size > 1:
        raise ValueError("stratified sampling needs at least two data points in the batch; got one")
    own = torch.eye(batch, dtype=torch.bool, device=log_q_z_given_x.device)
    other = math.log((dataset_size - 1) / (dataset_size * (batch - 1))) if batch > 1 else -math.inf
    weights = like.new_full((batch, batch), other)
    return weights.masked_fill(own, -math.log(dataset_size))


def minibatch_aggregate_posterior(
    log_q_z_given_x: Tensor, dataset_size: int, *, method: str = "stratified"
) -> AggregatePosterior:
    r"""Log densities of the aggregate posterior and of its marginals at the samples of a minibatch.

    .. math::
        \log q(z_i) \approx \log \sum_k w_{ik} \prod_j q(z_{ij} | x_k), \qquad
        \log q(z_{ij}) \approx \log \sum_k w_{ik}\, q(z_{ij} | x_k)

    Chen et al. (2018), appendix C. A weight belongs to a data point: it enters the joint once, after the
    sum over units, and each marginal once. (Adding it before the sum over units, as a widely used
    implementation does, counts it d times in the joint.)

    Args:
        log_q_z_given_x: ``log q(z_ij | x_k)``, ``[..., B (samples i), B (data points k), d (units j)]``.
        dataset_size: Number N of data points.
        method: See :func:`minibatch_log_weights`.

    Returns:
        Log densities in nats, joint ``[..., B]`` and marginals ``[..., B, d]``, in the type of ``log_q_z_given_x``,
        but float32 for the half types: they are sums over units of which small differences are taken.

    Raises:
        ValueError: As :func:`minibatch_log_weights`.
    """
    weights = minibatch_log_weights(log_q_z_given_x, dataset_size, method=method)
    log_q_z_given_x = single_or_wider(log_q_z_given_x)
    joint = torch.logsumexp(weights + log_q_z_given_x.sum(-1), -1)
    marginals = torch.logsumexp(weights.unsqueeze(-1) + log_q_z_given_x, -2)
    return AggregatePosterior(joint, marginals)


def minibatch_total_correlation(
    log_q_z_given_x: Tensor, dataset_size: int, *, method: str = "stratified"
) -> Tensor:
    r"""Total correlation of the aggregate posterior from one minibatch, differentiable.

    .. math:: TC(z) = E_{q(z)} \Big[\log q(z) - \sum_j \log q(z_j)\Big]

    with the densities of :func:`minibatch_aggregate_posterior`. Neither method is unbiased, because of the
    logarithm. ``"stratified"`` converges to the truth as the batch grows. ``"weighted"`` carries a
    constant of up to ``(d - 1) log N`` (reached when the conditionals overlap widely): usable as a loss,
    not as a measurement. When the conditionals of a batch hardly overlap, both are dominated by the own
    conditional and little can be learned from that batch: take larger batches.

    Args:
        log_q_z_given_x: ``log q(z_ij | x_k)``, ``[..., B, B, d]``.
        dataset_size: Number N of data points.
        method: See :func:`minibatch_log_weights`.

    Returns:
        Nats per sample, shape ``[...]``, in the type of ``log_q_z_given_x``, but float32 for the half types.

    Raises:
        ValueError: As :func:`minibatch_log_weights`.

    Example:
        >>> log_q = torch.randn(4, 4, 1)  # one unit has nothing to correlate with
        >>> minibatch_total_correlation(log_q, dataset_size=100).item()
        0.0
    """
    return minibatch_aggregate_posterior(log_q_z_given_x, dataset_size, method=method).total_correlation


def _batch_size(log_q_z_given_x: Tensor) -> int:
    if log_q_z_given_x.dim() < 3 or log_q_z_given_x.shape[-3] != log_q_z_given_x.shape[-2]:
        raise ValueError(
            "log_q_z_given_x must be [..., B, B, d] (samples, data points, units), one sample for each data "
            f"point; got shape {tuple(log_q_z_given_x.shape)}"
        )
    return log_q_z_given_x.shape[-2]
