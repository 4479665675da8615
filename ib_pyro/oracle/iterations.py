"""One iteration of the discrete information bottleneck, and the terms of its Lagrangian."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["bottleneck_step", "bottleneck_terms"]


def bottleneck_terms(
    p_z_given_x: Tensor, p_xy: Tensor, num_states: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Information that a discrete z holds about x, about y, and that its parts hold about each other.

    Args:
        p_z_given_x: ``[..., x, z]``, z with all its parts flattened.
        p_xy: Joint probabilities, ``[x, y]``.
        num_states: Number of values of each part of z, with the product z.

    Returns:
        I(x; z), I(z; y) and TC(z), each ``[...]``, in nats.
    """
    p_x, p_y = p_xy.sum(1), p_xy.sum(0)
    p_z = p_x @ p_z_given_x
    entropy_z = _entropy(p_z)
    i_xz = entropy_z - _entropy(p_z_given_x) @ p_x
    i_zy = entropy_z + _entropy(p_y) - _entropy((p_z_given_x.mT @ p_xy).flatten(-2))
    parts = torch.stack([_entropy(marginal) for marginal in _marginals(p_z, num_states)])
    return i_xz, i_zy, parts.sum(0) - entropy_z


def bottleneck_step(p_z_given_x: Tensor, p_xy: Tensor, beta: float, num_states: Sequence[int]) -> Tensor:
    r"""Next encoder of Tishby's alternating minimisation, with a prior that factorises over the parts of z.

    .. math::
        p(z|x) \leftarrow \frac{1}{Z(x)} \prod_i p(z_i)
            \exp\Big(-\tfrac1\beta KL\big(p(y|x) \,\|\, p(y|z)\big)\Big)

    Prior and decoder are those that the current encoder implies, which are optimal for it, so that
    ``-I(z; y) + beta (I(x; z) + TC(z))`` never rises. With a single part this is Tishby et al. (1999),
    section 3.3. At ``beta = 0`` each x moves to its nearest p(y|z), shared evenly among ties.

    Args:
        p_z_given_x: ``[..., x, z]``, z with all its parts flattened.
        p_xy: Joint probabilities, ``[x, y]``, with ``p(x) > 0`` for every x.
        beta: Weight of I(x; z), at least 0.
        num_states: Number of values of each part of z, with the product z.

    Returns:
        ``[..., x, z]``.
    """
    p_x = p_xy.sum(1)
    p_z = p_x @ p_z_given_x
    used = p_z.unsqueeze(-1) > 0
    p_y_given_z = torch.where(used, p_z_given_x.mT @ p_xy / torch.where(used, p_z.unsqueeze(-1), 1.0), 0.0)
    divergence = _pairwise_kl(p_xy / p_x.unsqueeze(-1), p_y_given_z)
    if beta == 0:
        nearest = (divergence == divergence.amin(-1, keepdim=True)).to(divergence.dtype)
        return nearest / nearest.sum(-1, keepdim=True)
    log_prior = _product(_marginals(p_z, num_states)).log().unsqueeze(-2)
    return torch.softmax(log_prior - divergence / beta, -1)


def _entropy(probabilities: Tensor) -> Tensor:
    return torch.special.entr(probabilities).sum(-1)


def _marginals(p_z: Tensor, num_states: Sequence[int]) -> list[Tensor]:
    """Marginal distribution of each part of z."""
    table = p_z.unflatten(-1, tuple(num_states))
    parts = range(-len(num_states), 0)
    if len(parts) == 1:
        return [table]
    return [table.sum([other for other in parts if other != part]) for part in parts]


def _product(marginals: Sequence[Tensor]) -> Tensor:
    """Flattened product distribution of the marginals."""
    product = marginals[0]
    for marginal in marginals[1:]:
        product = (product.unsqueeze(-1) * marginal.unsqueeze(-2)).flatten(-2)
    return product


def _pairwise_kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p_x || q_z) of all pairs of rows, ``[..., x, z]``; infinite where q_z misses some of p_x."""
    missed = (p > 0).to(p.dtype) @ (q == 0).to(p.dtype).mT > 0
    cross = p @ torch.where(q > 0, q, 1.0).log().mT
    return torch.where(missed, torch.inf, -_entropy(p).unsqueeze(-1) - cross)
