"""Differences with intervals, and what they say of a claim."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import norm, ttest_ind, tukey_hsd

from inference.studies.paper.numbers import interval

__all__ = [
    "NOT",
    "REPRODUCED",
    "UNDECIDED",
    "Estimate",
    "all_gaps",
    "all_of",
    "by_seed",
    "error_gap",
    "mean_estimate",
    "steps",
    "verdict",
    "within",
]

Row = dict[str, Any]

REPRODUCED, NOT, UNDECIDED = "reproduced", "not reproduced", "not decided at this size"


@dataclass(frozen=True)
class Estimate:
    """A number with the half-width of its interval.

    Args:
        value: The number.
        half: Half of the interval's width; NaN if nothing is known of it.
        basis: What the interval is over: seeds, or the images of one fit.
    """

    value: float
    half: float
    basis: str

    def __str__(self) -> str:
        return self.text()

    def text(self, digits: int = 2) -> str:
        """The number with its sign and its interval."""
        spread = "" if math.isnan(self.half) else f" ± {self.half:,.{digits}f}"
        return f"{self.value:+,.{digits}f}{spread}"


def mean_estimate(values: Sequence[float], *, parts: int = 1) -> Estimate:
    """Mean of a number that every seed has one of, with Student's 95 % interval.

    Args:
        values: A value a seed.
        parts: Number of estimates that a claim rests on; their intervals hold jointly (Bonferroni).
    """
    if len(values) == 1:
        return Estimate(float(values[0]), math.nan, "one fit each")
    mean, half = interval(values, 1 - 0.05 / parts)
    return Estimate(mean, half, f"{len(values)} seeds")


def error_gap(more: Sequence[Row], less: Sequence[Row], column: str, *, parts: int = 1) -> Estimate:
    """How much larger one group's error is than another's, in percentage points.

    With several seeds a group, the interval is Welch's over the seeds. With one, it covers the choice of the test
    images only, and fits may differ by more.

    Args:
        more: Rows of the group that should err more, a row a seed.
        less: Rows of the other one.
        column: An error, as a share.
        parts: Number of gaps that a claim rests on; their 95 % intervals hold jointly (Bonferroni).
    """
    groups = [[100 * row[column] for row in rows] for rows in (more, less)]
    value = float(np.mean(groups[0]) - np.mean(groups[1]))
    seeds = min(map(len, groups))
    level = 1 - 0.05 / parts
    if seeds > 1:
        if all(max(group) == min(group) for group in groups):
            return Estimate(value, 0.0, f"{seeds} seeds")
        low, high = ttest_ind(*groups, equal_var=False).confidence_interval(level)
        return Estimate(value, float(high - low) / 2, f"{seeds} seeds")
    variance = sum(row[column] * (1 - row[column]) / row["num_test"] for row in (more[0], less[0]))
    half = 100 * float(norm.ppf(0.5 + level / 2)) * math.sqrt(variance)
    return Estimate(value, half, "test images, one fit each")


def all_gaps(groups: Sequence[Sequence[Row]], column: str) -> dict[tuple[int, int], Estimate]:
    """How much larger the error of each group is than that of each other, in percentage points.

    The intervals hold jointly: those of Games and Howell over the seeds, whose spread may differ from group to group,
    or, of single fits, Bonferroni's over the test images.

    Args:
        groups: Rows of each group, a row a seed.
        column: An error, as a share.
    """
    pairs = [(i, j) for i in range(len(groups)) for j in range(len(groups)) if i != j]
    if min(map(len, groups)) == 1:
        return {(i, j): error_gap(groups[i], groups[j], column, parts=len(pairs) // 2 or 1) for i, j in pairs}
    errors = [[100 * row[column] for row in rows] for rows in groups]
    found = tukey_hsd(*errors, equal_var=False).confidence_interval(0.95)
    seeds = f"{min(map(len, errors))} seeds"
    return {
        (i, j): Estimate(
            float(found.low[i, j] + found.high[i, j]) / 2,
            float(found.high[i, j] - found.low[i, j]) / 2,
            seeds,
        )
        for i, j in pairs
    }


def by_seed(rows: Sequence[Row], column: str) -> dict[Any, float]:
    """A column's value of each seed."""
    return {row["seed"]: row[column] for row in rows}


def steps(series: Sequence[Mapping[Any, float]], *, parts: int) -> list[Estimate]:
    """By how much a number falls from each point of a series to the next, seed by seed.

    Args:
        series: The number of each seed, at each point.
        parts: Number of steps that a claim rests on; their intervals hold jointly.
    """
    return [
        mean_estimate([first[seed] - second[seed] for seed in first if seed in second], parts=parts)
        for first, second in pairwise(series)
    ]


def verdict(estimate: Estimate) -> str:
    """Say whether a difference that should be positive is so; without an interval its sign decides."""
    half = 0.0 if math.isnan(estimate.half) else estimate.half
    if estimate.value > half:
        return REPRODUCED
    return UNDECIDED if half > 0 and estimate.value >= -half else NOT


def within(estimate: Estimate, bound: float) -> str:
    """Say whether a number lies within ``bound`` of zero, as its whole interval must."""
    half = 0.0 if math.isnan(estimate.half) else estimate.half
    if abs(estimate.value) + half <= bound:
        return REPRODUCED
    return NOT if abs(estimate.value) - half > bound else UNDECIDED


def all_of(verdicts: Sequence[str]) -> str:
    """The verdict on a claim of several parts: the worst, where a refuted part outweighs an open one.

    >>> all_of(["reproduced", "not decided at this size"])
    'not decided at this size'
    """
    if not verdicts:
        return UNDECIDED
    return next((word for word in (NOT, UNDECIDED) if word in verdicts), REPRODUCED)
