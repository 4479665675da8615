"""The information bottleneck of discrete x and y, by Tishby's alternating iterations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ib_pyro.oracle.iterations import bottleneck_terms
from ib_pyro.oracle.search import BottleneckProblem, descend, search

__all__ = ["DiscreteIB", "discrete_factorised_ib", "discrete_ib"]


@dataclass(frozen=True)
class DiscreteIB:
    """Best representation found of discrete x for discrete y; float64, in nats."""

    i_xz: Tensor
    """I(x; z), scalar."""
    i_zy: Tensor
    """I(z; y), scalar."""
    total_correlation: Tensor
    """TC of the parts of z, scalar; zero where z is a single variable."""
    lagrangian: Tensor
    """``-I(z; y) + beta (I(x; z) + TC(z))``, scalar."""
    p_z_given_x: Tensor
    """``[x, z]``, or ``[x, z1, z2, ...]`` for a z of several parts; rows sum to 1."""
    trace: Tensor
    """Lagrangian along the last iterations that led here, ``[iterations + 1]``; never rises."""
    converged: bool
    """Whether the last iteration lowered the Lagrangian by no more than the tolerance."""


def discrete_ib(
    p_xy: Tensor | ArrayLike,
    beta: float,
    num_states: int,
    *,
    seed: int = 0,
    num_restarts: int = 64,
    max_iterations: int = 10_000,
    tolerance: float = 1e-12,
) -> DiscreteIB:
    r"""Minimise ``-I(z; y) + beta I(x; z)`` over p(z|x) for a discrete joint distribution.

    The minimum is a fixed point of

    .. math::
        p(z|x) \propto p(z) \exp\Big(-\tfrac1\beta KL\big(p(y|x) \,\|\, p(y|z)\big)\Big)

    with p(z) and p(y|z) implied by p(z|x) (Tishby, Pereira & Bialek 1999, theorem 4 and section 3.3, whose
    beta multiplies I(z; y) and is one over ours). Each iteration lowers the Lagrangian, but only to a local
    minimum. Half of the restarts are annealed from beta = 1, where z is empty, down to the beta asked for,
    the others begin at random; the better ones are kicked and improved further, and the best end is
    returned: an upper bound of the true minimum, and on small problems in practice the minimum itself. Close
    to a phase transition the iterations slow down, and the default tolerance stops some 1e-10 nats short. At
    ``beta = 0`` every x goes to its nearest p(y|z) alone.

    Args:
        p_xy: Joint probabilities, ``[x, y]``.
        beta: Weight of I(x; z), at least 0; nats per nat, not divided by a number of samples.
        num_states: Number of values of z. As many as x has always suffice.
        seed: Seed of the restarts. Torch's ambient generator is not touched.
        num_restarts: Number of starting points, run side by side; more for more than some dozen x.
        max_iterations: Number of iterations at which to stop short of convergence.
        tolerance: Converged once the best run's Lagrangian falls by at most so many nats in an iteration.

    Returns:
        The best optimum found.

    Raises:
        ValueError: ``p_xy`` is no joint distribution, beta is negative or not finite, or a count is below 1.

    Example:
        >>> optimum = discrete_ib([[0.5, 0.0], [0.0, 0.5]], beta=0.25, num_states=2)
        >>> round(optimum.lagrangian.item() / math.log(2), 6)
        -0.75
    """
    return discrete_factorised_ib(
        p_xy,
        beta,
        (num_states,),
        seed=seed,
        num_restarts=num_restarts,
        max_iterations=max_iterations,
        tolerance=tolerance,
    )


def discrete_factorised_ib(
    p_xy: Tensor | ArrayLike,
    beta: float,
    num_states: Sequence[int],
    *,
    seed: int = 0,
    num_restarts: int = 64,
    max_iterations: int = 10_000,
    tolerance: float = 1e-12,
) -> DiscreteIB:
    r"""Minimise the bottleneck under a prior that factorises over the parts of z and is itself optimised.

    .. math::
        &\min_{p(z|x)} \min_{q_1, q_2, \dots} -I(z; y)
            + \beta\, E_x KL\Big(p(z|x) \,\Big\|\, \prod_i q_i(z_i)\Big) \\
        &= \min_{p(z|x)} -I(z; y) + \beta \big(I(x; z) + TC(z)\big)

    Achille & Soatto (2018), proposition 1. The iterations of :func:`discrete_ib` hold with the product of
    the marginals in place of p(z). Arguments and errors are those of :func:`discrete_ib`, but for:

    Args:
        p_xy: Joint probabilities, ``[x, y]``.
        beta: Weight of the rate, at least 0.
        num_states: Number of values of each part of z; a single part is the ordinary bottleneck.
        seed: Seed of the restarts.
        num_restarts: Number of starting points.
        max_iterations: Number of iterations at which to stop.
        tolerance: Least fall of the Lagrangian in an iteration, in nats.

    Returns:
        The best optimum found.

    Raises:
        ValueError: As :func:`discrete_ib`.
    """
    joint = _as_joint(p_xy)
    if not (math.isfinite(beta) and beta >= 0):
        raise ValueError(f"beta must be finite and at least 0; got {beta}")
    smallest = min(num_states, default=0)
    counts = {"num_states": smallest, "num_restarts": num_restarts, "max_iterations": max_iterations}
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1; got {count}")
    possible = joint.sum(1) > 0
    kept = joint[possible]
    problem = BottleneckProblem(kept, beta, tuple(num_states))
    starts = search(problem, num_restarts, torch.Generator(joint.device).manual_seed(seed))
    best, trace = descend(starts, problem, max_iterations, tolerance)
    i_xz, i_zy, total_correlation = bottleneck_terms(best, kept, num_states)
    encoder = (kept.sum(1) @ best).repeat(joint.shape[0], 1)
    encoder[possible] = best
    return DiscreteIB(
        i_xz=i_xz,
        i_zy=i_zy,
        total_correlation=total_correlation,
        lagrangian=beta * (i_xz + total_correlation) - i_zy,
        p_z_given_x=encoder.reshape(-1, *num_states),
        trace=trace,
        converged=bool(trace[-2] - trace[-1] <= tolerance),
    )


def _as_joint(p_xy: Tensor | ArrayLike) -> Tensor:
    joint = torch.as_tensor(p_xy, dtype=torch.float64)
    if joint.dim() != 2 or joint.numel() == 0:
        raise ValueError(f"p_xy must be a matrix [x, y]; got shape {tuple(joint.shape)}")
    if not bool((torch.isfinite(joint) & (joint >= 0)).all()):
        raise ValueError(f"p_xy must be finite and at least 0; its smallest value is {joint.min():.3g}")
    if not abs(joint.sum() - 1) < 1e-6:
        raise ValueError(f"p_xy must sum to 1; got {joint.sum():.8g}. Divide counts by their sum")
    return joint / joint.sum()
