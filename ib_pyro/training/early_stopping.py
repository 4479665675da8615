"""When a fit stops before its end, and which epoch was its best: functions of its history."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ib_pyro.elbo.weights import Weight
from ib_pyro.training.fit_result import Row
from ib_pyro.training.lagrangian import Schedule

__all__ = ["MONITORS", "best_epoch", "epochs_without_gain", "outlasted", "settled"]

MONITORS = ("loss", "distortion", "error")
"""What may be monitored, of the validation set."""


def best_epoch(rows: Sequence[Row], column: str, counts: Callable[[int], bool]) -> int | None:
    """Return the first epoch with the least value of a column; None if none that counts has it.

    Args:
        rows: The history.
        column: The column.
        counts: Whether an epoch, from 1, counts.
    """
    found: int | None = None
    for epoch, row in enumerate(rows, start=1):
        # The loss of held-out data is left out where a total correlation is weighted.
        if column in row and counts(epoch) and (found is None or row[column] < rows[found - 1][column]):
            found = epoch
    return found


def epochs_without_gain(rows: Sequence[Row], column: str, counts: Callable[[int], bool]) -> int:
    """Return how many of the epochs that count came after the best of them."""
    best = best_epoch(rows, column, counts)
    return 0 if best is None else sum(counts(epoch) for epoch in range(best + 1, len(rows) + 1))


def settled(epoch: int, steps: int, schedules: Mapping[str, Schedule], targets: Mapping[str, Weight]) -> bool:
    """Whether all weights are at their targets at the last step of an epoch.

    A loss at a smaller weight, and what it has led to, says nothing of the target's: neither is compared with.

    Args:
        epoch: The epoch, from 1.
        steps: Steps in an epoch.
        schedules: Weights as functions of the number of finished epochs, a fraction.
        targets: What they are to be in the end.
    """
    last = epoch - 1 / steps
    return all(_is_close(schedule(last), targets[name]) for name, schedule in schedules.items())


def outlasted(
    epochs: int, steps: int, schedules: Mapping[str, Schedule], targets: Mapping[str, Weight]
) -> str | None:
    """Say which weight has not arrived at its target at the last step of a fit; None if all have."""
    last = epochs - 1 / steps
    for name, schedule in schedules.items():
        if not _is_close(schedule(last), targets[name]):
            return (
                f"schedules: {name} is {_shown(schedule(last))} at the last step of {epochs} epochs, and its target "
                f"is {_shown(targets[name])}: it is still on its way when the fit ends, and so is what is fitted. Use "
                "more epochs or a shorter warm-up"
            )
    return None


def _is_close(one: Weight, other: Weight) -> bool:
    if isinstance(one, Mapping) or isinstance(other, Mapping):
        if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
            return False
        return one.keys() == other.keys() and all(_is_close(one[site], other[site]) for site in one)
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        first, second = torch.as_tensor(one), torch.as_tensor(other)
        return bool((first - second).abs().max() <= 1e-6 * second.abs().max())
    return abs(one - other) <= 1e-6 * abs(other)


def _shown(weight: Any) -> str:  # noqa: ANN401 (a Weight, whose type mypy cannot narrow)
    if isinstance(weight, Mapping):
        return ", ".join(f"{_shown(part)} for {site!r}" for site, part in weight.items())
    return f"{float(weight):g}" if not isinstance(weight, Tensor) or weight.numel() == 1 else str(weight)
