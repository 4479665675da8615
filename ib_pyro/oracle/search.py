"""Search for the encoder with the least bottleneck Lagrangian among many local minima."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ib_pyro.oracle.iterations import bottleneck_step, bottleneck_terms

__all__ = ["BottleneckProblem", "descend", "search"]

_ANNEALING_STEPS = 300
_ANNEALING_NOISE = 0.01
_LOWEST_BETA = 1e-3
_KICK_ROUNDS = 6
_KICK_ITERATIONS = 40
_KICKED_ROWS = 3.0
_SETTLING_ITERATIONS = 200


@dataclass(frozen=True)
class BottleneckProblem:
    """A joint distribution, a trade-off and the shape of z."""

    p_xy: Tensor
    """``[x, y]``, with p(x) > 0 for every x."""
    beta: float
    """Weight of I(x; z) + TC(z)."""
    num_states: Sequence[int]
    """Number of values of each part of z."""

    @property
    def encoder_shape(self) -> tuple[int, int]:
        """Number of values of x, and of z with its parts flattened."""
        return self.p_xy.shape[0], math.prod(self.num_states)

    def lagrangian(self, encoder: Tensor) -> Tensor:
        """``-I(z; y) + beta (I(x; z) + TC(z))`` of encoders ``[..., x, z]``, nats."""
        i_xz, i_zy, total_correlation = bottleneck_terms(encoder, self.p_xy, self.num_states)
        return self.beta * (i_xz + total_correlation) - i_zy

    def step(self, encoder: Tensor, beta: float | None = None) -> Tensor:
        """One alternating iteration, at another beta if one is given."""
        return bottleneck_step(encoder, self.p_xy, self.beta if beta is None else beta, self.num_states)


def search(problem: BottleneckProblem, num_restarts: int, generator: torch.Generator) -> Tensor:
    """Good encoders from many starts, each improved by kicks: a few values of x are thrown to other states.

    Plain restarts miss optima with fewer states of z than values of x, as Lloyd's iterations do in k-means;
    moving single values of x from cluster to cluster finds them (Slonim et al. 2002). A kick is kept where
    the iterations after it end lower than those without it; starts do not compete with each other.

    Args:
        problem: What to minimise.
        num_restarts: Number of starting points: half annealed, half random.
        generator: Source of randomness.

    Returns:
        ``[runs, x, z]``, the better quarter, best first; not yet converged.
    """
    annealed = _annealed((num_restarts + 1) // 2, problem, generator)
    encoders = _iterated(torch.cat([annealed, _fresh(num_restarts // 2, problem, generator)]), problem)
    for _ in range(_KICK_ROUNDS):
        kicked = _iterated(_kicked(encoders, generator), problem)
        encoders = _iterated(encoders, problem)
        better = problem.lagrangian(kicked) < problem.lagrangian(encoders)
        encoders = torch.where(better[:, None, None], kicked, encoders)
    best_first = problem.lagrangian(encoders).argsort()
    return encoders[best_first[: math.ceil(num_restarts / 4)]]


def descend(
    encoders: Tensor, problem: BottleneckProblem, max_iterations: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Iterate until the best run stands still, once the others have had the time to overtake it.

    Args:
        encoders: Starting points, ``[runs, x, z]``.
        problem: What to minimise.
        max_iterations: Number of iterations at which to stop short of that.
        tolerance: Fall of the best Lagrangian in an iteration that counts as standing still, nats.

    Returns:
        The best encoder ``[x, z]``, and its Lagrangian along the way, ``[iterations + 1]``.
    """
    trace = [problem.lagrangian(encoders)]
    for iteration in range(max_iterations):
        encoders = problem.step(encoders)
        trace.append(problem.lagrangian(encoders))
        best = trace[-1].argmin()
        if iteration >= _SETTLING_ITERATIONS and trace[-2][best] - trace[-1][best] <= tolerance:
            break
    return encoders[best], torch.stack(trace)[:, best]


def _annealed(count: int, problem: BottleneckProblem, generator: torch.Generator) -> Tensor:
    """Follow the optimum from beta = 1, where z is empty, down, with noise that lets states split."""
    size, total = problem.encoder_shape
    encoders = problem.p_xy.new_full((count, size, total), 1 / total)
    noise = torch.empty_like(encoders)
    lowest = min(max(problem.beta, _LOWEST_BETA), 1.0)
    for step in range(1, _ANNEALING_STEPS + 1):
        encoders = encoders * (_ANNEALING_NOISE * noise.normal_(generator=generator)).exp()
        encoders = encoders / encoders.sum(-1, keepdim=True)
        encoders = problem.step(encoders, lowest ** (step / _ANNEALING_STEPS))
    return encoders


def _fresh(count: int, problem: BottleneckProblem, generator: torch.Generator) -> Tensor:
    """Random encoders, but for the first, which gives each x a z of its own while there are any."""
    size, total = problem.encoder_shape
    encoders = problem.p_xy.new_empty(count, size, total).normal_(std=3.0, generator=generator).softmax(-1)
    encoders[:1] = _towards(torch.arange(size, device=encoders.device) % total, total, encoders.dtype)
    return encoders


def _kicked(encoders: Tensor, generator: torch.Generator) -> Tensor:
    """Copies in which three rows on average are thrown to a random state each."""
    runs, size, total = encoders.shape
    hit = torch.rand(runs, size, 1, generator=generator, device=encoders.device) < _KICKED_ROWS / size
    target = torch.randint(total, (runs, size), generator=generator, device=encoders.device)
    return torch.where(hit, _towards(target, total, encoders.dtype), encoders)


def _towards(states: Tensor, total: int, dtype: torch.dtype) -> Tensor:
    return 0.95 * torch.nn.functional.one_hot(states, total).to(dtype) + 0.05 / total


def _iterated(encoders: Tensor, problem: BottleneckProblem) -> Tensor:
    for _ in range(_KICK_ITERATIONS):
        encoders = problem.step(encoders)
    return encoders
