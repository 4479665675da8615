"""What the seeds say of a claim: one-sided tests of its parts, and the verdict that follows from all of them.

The rules are those of ``RULES.md`` beside this file, and are fixed there before the runs that they judge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.stats import page_trend_test
from scipy.stats import t as student_t

__all__ = [
    "CANNOT",
    "FEW",
    "LEVEL",
    "MIN_SEEDS",
    "NOT",
    "REPRODUCED",
    "UNDECIDED",
    "Part",
    "between",
    "complete_seeds",
    "differences",
    "either",
    "every",
    "falls_then_rises",
    "positive",
    "trend",
]

REPRODUCED, NOT, UNDECIDED = "reproduced", "not reproduced", "not decided at this size"
CANNOT, FEW = "this preset cannot test it", "not judged: fewer than 3 seeds"
LEVEL = 0.05
MIN_SEEDS = 3


@dataclass(frozen=True)
class Part:
    """A part of a claim: a number that should be positive, of which every seed has one value.

    Args:
        value: Its mean.
        half: Half of its two-sided 90 % interval, each end of which is a one-sided 95 % bound; NaN of a single seed.
        right: p-value of "it is positive"; NaN of a single seed.
        wrong: p-value of "it is negative".
        seeds: Number of seeds.
    """

    value: float
    half: float
    right: float
    wrong: float
    seeds: int

    def __str__(self) -> str:
        return self.text()

    def text(self, digits: int = 2) -> str:
        """The number with its sign and its interval."""
        spread = "" if math.isnan(self.half) else f" ± {self.half:,.{digits}f}"
        return f"{self.value:+,.{digits}f}{spread}"


def positive(values: Sequence[float] | pd.Series) -> Part:
    """Test whether a number is positive, by Student's t over the seeds, one-sided.

    Args:
        values: A value a seed.

    Raises:
        ValueError: If there is no value, or one that is not finite.

    >>> part = positive([1.0, 2.0, 3.0])
    >>> round(part.value, 3), round(part.half, 3), round(part.right, 4)
    (2.0, 1.686, 0.0371)
    """
    data = np.asarray(values, dtype=float)
    if len(data) == 0:
        raise ValueError("values: empty; the CSV lacks the rows of a method, size or beta that others have")
    if not np.isfinite(data).all():
        raise ValueError(f"values: not all finite ({data.tolist()}); a run diverged, or a column is missing")
    mean, count = float(data.mean()), len(data)
    if count == 1:
        return Part(mean, math.nan, math.nan, math.nan, 1)
    error = float(data.std(ddof=1)) / math.sqrt(count)
    if error <= 1e-12 * abs(mean):
        right = 0.5 if mean == 0 else float(mean < 0)
        return Part(mean, 0.0, right, 1 - right, count)
    right = float(student_t.sf(mean / error, count - 1))
    return Part(mean, error * float(student_t.isf(LEVEL, count - 1)), right, 1 - right, count)


def between(values: Sequence[float] | pd.Series, bound: float) -> list[Part]:
    """Test whether a number lies within ``bound`` of zero: its distances from both ends are positive.

    Args:
        values: A value a seed.
        bound: Largest distance from zero.
    """
    data = np.asarray(values, dtype=float)
    return [positive(bound - data), positive(bound + data)]


def differences(series: Sequence[pd.Series], *, log: bool = False) -> list[Part]:
    """Test whether a number falls from each point of a series to the next, seed by seed.

    Args:
        series: The number at each point, a value a seed, indexed by the seed.
        log: Compare logarithms; the numbers must be positive.
    """
    values = [_logarithm(each) if log else each for each in series]
    return [positive(first - second.loc[first.index]) for first, second in pairwise(values)]


def trend(series: Sequence[pd.Series], *, rises: bool) -> Part:
    """Test whether a number rises, or falls, over the points of a series: Page's test, the seeds as blocks.

    The number shown is the slope a step, fitted to each seed; the p-values are Page's, which know ranks only.

    Args:
        series: The number at each point, at least three, a value a seed.
        rises: The direction of the claim.

    Raises:
        ValueError: If there are fewer than three points.
    """
    if len(series) < 3:
        raise ValueError(f"series: {len(series)} points have no trend; compare two by `positive`")
    table = np.stack([each.loc[series[0].index].to_numpy(dtype=float) for each in series], axis=1)
    table = table if rises else -table
    slopes = np.polyfit(np.arange(table.shape[1]), table.T, 1)[0]
    shown = positive(slopes)
    if shown.seeds == 1:
        return shown
    right, wrong = (float(page_trend_test(each).pvalue) for each in (table, -table))
    return Part(shown.value, shown.half, right, wrong, shown.seeds)


def every(parts: Sequence[Part]) -> str:
    """The verdict on a claim that every part holds (intersection-union test, Berger 1982).

    Reproduced if each part alone is positive at the 5 % level: no part needs a correction for the others. Not
    reproduced if some part is negative at 5 % divided by the number of parts (Bonferroni).

    Args:
        parts: Verdicts, one for each part of a claim.
    """
    if not parts:
        return UNDECIDED
    if min(part.seeds for part in parts) < MIN_SEEDS:
        return FEW
    if all(part.right <= LEVEL for part in parts):
        return REPRODUCED
    return NOT if any(part.wrong <= LEVEL / len(parts) for part in parts) else UNDECIDED


def either(parts: Sequence[Part]) -> str:
    """The verdict on a claim that some part holds.

    Reproduced if some part is positive at 5 % divided by the number of parts; not reproduced if each is negative at
    5 %.

    Args:
        parts: Verdicts, one for each part of a claim.
    """
    if not parts:
        return UNDECIDED
    if min(part.seeds for part in parts) < MIN_SEEDS:
        return FEW
    if any(part.right <= LEVEL / len(parts) for part in parts):
        return REPRODUCED
    return NOT if all(part.wrong <= LEVEL for part in parts) else UNDECIDED


def falls_then_rises(series: Sequence[pd.Series]) -> tuple[str, Part, Part]:
    """The verdict on a claim that a number has a minimum inside of a series, not at its first point.

    Reproduced if at some inner point it is smaller than at the first point and than at the last, both at 5 % divided
    by the number of inner points. Not reproduced if at every later point it is larger than at the first, each at 5 %.

    Args:
        series: The number at each point, a value a seed.

    Returns:
        The verdict; and, at the inner point with the smallest mean, by how much the first and the last exceed it.
    """
    first, *inner, last = series
    falls = [positive(first - each.loc[first.index]) for each in (*inner, last)]
    rises = [positive(last.loc[each.index] - each) for each in inner]
    best = int(np.argmin([float(each.mean()) for each in inner])) if inner else 0
    shown = (falls[best], rises[best] if inner else falls[best])
    if min(part.seeds for part in falls) < MIN_SEEDS:
        return FEW, *shown
    level = LEVEL / max(1, len(inner))
    if any(max(fall.right, rise.right) <= level for fall, rise in zip(falls, rises, strict=False)):
        return REPRODUCED, *shown
    return NOT if all(fall.wrong <= LEVEL for fall in falls) else UNDECIDED, *shown


def complete_seeds(rows: pd.DataFrame, cells: Sequence[str]) -> pd.DataFrame:
    """The rows of the seeds that have every cell that some seed has; a seed of which a run is missing is left out.

    Args:
        rows: A claim's rows.
        cells: Columns that tell the runs of a seed apart.
    """
    wanted = rows.groupby(list(cells), dropna=False).ngroups
    found = {seed: part.groupby(list(cells), dropna=False).ngroups for seed, part in rows.groupby("seed")}
    return rows[rows["seed"].isin([seed for seed, count in found.items() if count == wanted])]


def _logarithm(values: pd.Series) -> pd.Series:
    if not (values > 0).all():
        raise ValueError(f"values: {float(values.min()):g} has no logarithm; a rate must be positive here")
    return np.log(values)
