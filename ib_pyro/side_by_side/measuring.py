"""What several trained programs of one structure do on a set, all at once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ib_pyro.data import batches
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.side_by_side.evaluation import Lagrangians
from ib_pyro.side_by_side.stack import Stack
from ib_pyro.side_by_side.streams import Streams
from ib_pyro.side_by_side.weights import Objectives

__all__ = ["evaluate_side_by_side"]


def evaluate_side_by_side(
    programs: Sequence[nn.Module],
    data: object,
    *,
    num_samples: int = 16,
    batch_size: int = 1000,
    seed: int = 0,
    names: Sequence[str] | None = None,
) -> list[dict[str, float]]:
    """Evaluate programs of one structure on a set, with the noise on, off batch norm's training mode.

    Each has the numbers that it would have alone under ``torch.manual_seed(seed)``, to rounding.

    Args:
        programs: Programs, such as ``train_side_by_side(...).programs``; left in evaluation mode.
        data: The set: anything with tensors ``x`` and ``y``, or the pair of them.
        num_samples: Draws of the posterior predictive; 1 leaves that out.
        batch_size: Samples at a time.
        seed: Seed of the noise, the same for all.
        names: What each is called, for messages.

    Returns:
        For each program: ``distortion``, ``rate`` and ``rate/<site>`` in nats per sample under one draw of noise a
        sample; where y are classes ``error``, the share that this draw gets wrong, and ``error_predictive``, that of
        the mean of the predicted probabilities over the draws.

    Raises:
        VectorizationError: If they are not of one structure, or cannot be run at once; says why.
        ValueError: If ``num_samples`` is below 1.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1; got {num_samples}")
    names = names or [f"program {number}" for number in range(1, len(programs) + 1)]
    for program in programs:
        program.eval()
    stack = Stack(programs, names)
    try:
        like = stack.like
        elbos = [InformationBottleneckELBO(1.0) for _ in programs]
        streams = Streams.seeded([seed] * len(programs), like.device)
        lagrangians = Lagrangians(stack, Objectives(elbos, names, like), streams)
        return _measured(lagrangians, data, len(programs), like, num_samples, batch_size)
    finally:
        stack.release()


def _measured(
    lagrangians: Lagrangians, data: object, runs: int, like: Tensor, num_samples: int, batch_size: int
) -> list[dict[str, float]]:
    totals: dict[str, Any] = {}
    size = 0
    for x, y in batches(data, batch_size, shuffle=False):
        size += len(x)
        x, y = (v.to(like) if v.is_floating_point() else v.to(like.device) for v in (x, y))
        x, y = x.expand(runs, *x.shape), y.expand(runs, *y.shape)
        sums, scores = lagrangians.measure(x, y)
        if scores is not None and num_samples > 1:
            others = [lagrangians.measure(x, y)[1] for _ in range(num_samples - 1)]
            mean = torch.stack([draw.softmax(-1) for draw in (scores, *others) if draw is not None]).mean(0)
            sums["error_predictive"] = (mean.argmax(-1) != y).sum(-1)
        for name, value in sums.items():
            totals[name] = totals.get(name, 0.0) + value
    rows = [{name: float(value[run]) / size for name, value in totals.items()} for run in range(runs)]
    for row in rows:
        row["rate"] = sum(value for name, value in row.items() if name.startswith("rate/"))
    order = ("distortion", "rate", "error", "error_predictive")
    return [{**{n: row[n] for n in order if n in row}, **row} for row in rows]
