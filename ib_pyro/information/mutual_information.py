"""Bounds on what z knows of x and of y; the rate itself is one more bound on I(x; z), from above.

Each has the type of its argument, but float32 for the half types.
"""

import math

import torch
from torch import Tensor

from ib_pyro.precision import single_or_wider

__all__ = [
    "info_nce_lower_bound",
    "label_entropy",
    "leave_one_out_upper_bound",
    "predictive_information_lower_bound",
]


def info_nce_lower_bound(log_q_z_given_x: Tensor) -> Tensor:
    r"""Lower bound on I(x; z) from the conditional densities within a batch.

    .. math::
        I(x; z) \ge E\Big[\frac1B \sum_i \log \frac{q(z_i | x_i)}{\frac1B \sum_k q(z_i | x_k)}\Big]

    InfoNCE with the tractable conditional as its critic, which is the best critic (Poole et al. 2019,
    section 2.5). It cannot exceed ``log B``. Any matrix of critic scores in place of the log densities
    gives a valid, looser bound.

    Args:
        log_q_z_given_x: ``log q(z_i | x_k)``, summed over units, ``[..., B (samples i), B (data points k)]``.

    Returns:
        Nats per sample, shape ``[...]``; a lower bound in expectation over batches.

    Raises:
        ValueError: The matrix is not square.
    """
    batch = _batch_size(log_q_z_given_x, smallest=1)
    log_q_z_given_x = single_or_wider(log_q_z_given_x)
    own = torch.diagonal(log_q_z_given_x, dim1=-2, dim2=-1)
    return (own - torch.logsumexp(log_q_z_given_x, -1)).mean(-1) + math.log(batch)


def leave_one_out_upper_bound(log_q_z_given_x: Tensor) -> Tensor:
    r"""Upper bound on I(x; z) from the conditional densities within a batch, without a prior.

    .. math::
        I(x; z) \le E\Big[\frac1B \sum_i
            \log \frac{q(z_i | x_i)}{\frac1{B - 1} \sum_{k \ne i} q(z_i | x_k)}\Big]

    The other members of the batch stand in for the aggregate posterior (Poole et al. 2019, section 2.5).
    Loose, even infinite, where the conditionals of a batch hardly overlap.

    Args:
        log_q_z_given_x: As for :func:`info_nce_lower_bound`, with B of at least 2.

    Returns:
        Nats per sample, shape ``[...]``; an upper bound in expectation over batches.

    Raises:
        ValueError: The matrix is not square, or holds one sample only.
    """
    batch = _batch_size(log_q_z_given_x, smallest=2)
    log_q_z_given_x = single_or_wider(log_q_z_given_x)
    own = torch.eye(batch, dtype=torch.bool, device=log_q_z_given_x.device)
    others = torch.logsumexp(log_q_z_given_x.masked_fill(own, -math.inf), -1)
    conditional = torch.diagonal(log_q_z_given_x, dim1=-2, dim2=-1)
    return (conditional - others).mean(-1) + math.log(batch - 1)


def predictive_information_lower_bound(distortion: Tensor, entropy: Tensor | float) -> Tensor:
    r"""Lower bound on I(z; y) from the distortion.

    .. math:: I(z; y) \ge H(y) - E[-\log p(y|z)]

    Barber & Agakov (2003); the gap is the mean KL from the decoder to the true p(y|z).

    Args:
        distortion: ``-log p(y_i | z_i)`` in nats, ``[..., B]``.
        entropy: H(y) in nats; see :func:`label_entropy` for classes.

    Returns:
        Nats per sample, shape ``[...]``; negative where the decoder is worse than the base rates.
    """
    return entropy - single_or_wider(distortion).mean(-1)


def label_entropy(labels: Tensor) -> Tensor:
    r"""Entropy of the empirical distribution of class labels, :math:`-\sum_c \hat p_c \log \hat p_c`.

    Args:
        labels: Class indices of any shape, at least one.

    Returns:
        Scalar, nats, in torch's default dtype.

    Raises:
        ValueError: There are no labels, or they are no whole numbers.

    Example:
        >>> round(label_entropy(torch.tensor([0, 1, 2, 3])).exp().item(), 4)
        4.0
    """
    if labels.numel() == 0:
        raise ValueError("labels is empty; an entropy needs at least one label")
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(
            f"labels must be class indices, whole numbers; got {labels.dtype}: of probabilities or one-hot rows pass "
            ".argmax(-1), of indices .long()"
        )
    counts = labels.unique(return_counts=True)[1]
    return torch.special.entr(counts / labels.numel()).sum()


def _batch_size(log_q_z_given_x: Tensor, *, smallest: int) -> int:
    shape = tuple(log_q_z_given_x.shape)
    if len(shape) < 2 or shape[-1] != shape[-2] or shape[-1] < smallest:
        raise ValueError(
            "log_q_z_given_x must be [..., B, B] (samples, data points), summed over units, with B of at "
            f"least {smallest}; got shape {shape}"
        )
    return shape[-1]
