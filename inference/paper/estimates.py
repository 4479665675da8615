"""Differences with intervals, and what they say of a claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inference.paper.numbers import interval, select, values_of

__all__ = ["NOT", "REPRODUCED", "UNDECIDED", "Estimate", "all_of", "error_gap", "verdict"]

Row = dict[str, Any]

REPRODUCED, NOT, UNDECIDED = "reproduced", "not reproduced", "not decided at this size"


@dataclass(frozen=True)
class Estimate:
    """A difference with the half-width of its 95 % interval.

    Args:
        value: The difference.
        half: Half of the interval's width; NaN if nothing is known of it.
        basis: What the interval is over: seeds, or the images of one fit.
    """

    value: float
    half: float
    basis: str

    def __str__(self) -> str:
        spread = "" if math.isnan(self.half) else f" ± {self.half:.2f}"
        return f"{self.value:+.2f}{spread}"


def error_gap(more: Sequence[Row], less: Sequence[Row], column: str) -> Estimate:
    """How much larger one group's error is than another's, in percentage points.

    With several seeds, the interval is Student's over the seeds' differences, each a mean over the sizes that both
    groups have. With one, it covers the choice of the test images only, and fits may differ by more.

    Args:
        more: Rows of the group that should err more.
        less: Rows of the other one.
        column: An error, as a share.
    """
    seeds = [seed for seed in values_of(more, "seed") if select(less, seed=seed)]
    gaps = [100 * _mean_gap(select(more, seed=seed), select(less, seed=seed), column) for seed in seeds]
    if len(gaps) > 1:
        value, half = interval(gaps)
        return Estimate(value, half, f"{len(gaps)} seeds")
    rows = [*more, *less]
    variance = sum(row[column] * (1 - row[column]) / row["num_test"] for row in rows)
    sizes = max(1, len(rows) // 2)
    return Estimate(gaps[0], 196 * math.sqrt(variance) / sizes, "test images, one fit each")


def verdict(estimate: Estimate) -> str:
    """Say whether a difference that should be positive is so."""
    if math.isnan(estimate.half):
        return UNDECIDED
    if estimate.value > estimate.half:
        return REPRODUCED
    return NOT if estimate.value < -estimate.half else UNDECIDED


def all_of(verdicts: Sequence[str]) -> str:
    """The verdict on a claim of several parts: the worst, where a refuted part outweighs an open one.

    >>> all_of(["reproduced", "not decided at this size"])
    'not decided at this size'
    """
    return next((word for word in (NOT, UNDECIDED) if word in verdicts), REPRODUCED)


def _mean_gap(more: Sequence[Row], less: Sequence[Row], column: str) -> float:
    sizes = [size for size in values_of(more, "size") if select(less, size=size)]
    gaps = [select(more, size=size)[0][column] - select(less, size=size)[0][column] for size in sizes]
    return sum(gaps) / len(gaps)
