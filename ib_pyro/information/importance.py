"""Marginal likelihood by importance weighting, and how much its weights are worth."""

import math

import torch
from torch import Tensor

from ib_pyro.precision import single_or_wider

__all__ = ["effective_sample_size", "importance_weighted_bound"]


def importance_weighted_bound(log_weights: Tensor) -> Tensor:
    r"""Importance-weighted lower bound on the log-likelihood.

    .. math:: \log p(x) \ge E\Big[\log \frac1K \sum_k w_k\Big], \qquad w_k = \frac{p(x, z_k)}{q(z_k | x)}

    Burda et al. (2016), eq. (8). K = 1 is the ELBO; the bound tightens as K grows.

    Args:
        log_weights: ``log p(x, z_k) - log q(z_k | x)`` in nats, ``[K, ...]``, usually ``[K, B]``.

    Returns:
        Nats per sample, shape ``[...]``, in the type of the weights, but float32 for the half types.

    Raises:
        ValueError: There are no draws.

    Example:
        >>> importance_weighted_bound(torch.tensor([[0.25], [0.75]]).log()).exp()
        tensor([0.5000])
    """
    return torch.logsumexp(single_or_wider(log_weights), 0) - math.log(_num_draws(log_weights))


def effective_sample_size(log_weights: Tensor) -> Tensor:
    r"""Number of equally weighted draws that K weighted ones are worth.

    .. math:: \frac{(\sum_k w_k)^2}{\sum_k w_k^2} \in [1, K]

    Kish (1965). Near 1, the bound of :func:`importance_weighted_bound` rests on a single draw.

    Args:
        log_weights: As for :func:`importance_weighted_bound`; constants cancel.

    Returns:
        Shape ``[...]``, in the type of the weights, but float32 for the half types; 0 where no draw has any weight.

    Raises:
        ValueError: There are no draws.

    Example:
        >>> effective_sample_size(torch.zeros(8, 1))
        tensor([8.])
    """
    _num_draws(log_weights)
    weights = torch.softmax(single_or_wider(log_weights), 0)
    weightless = torch.isneginf(log_weights).all(0)
    return torch.where(weightless, 0.0, weights.square().sum(0).reciprocal())


def _num_draws(log_weights: Tensor) -> int:
    if log_weights.dim() == 0 or log_weights.shape[0] == 0:
        raise ValueError(
            f"log_weights must be [K, ...] with K of at least 1; got shape {tuple(log_weights.shape)}"
        )
    return log_weights.shape[0]
