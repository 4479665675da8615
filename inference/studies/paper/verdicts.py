"""Claims, what our numbers say of them, and the rules that several figures judge by."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from inference.studies.paper.statistics import (
    Estimate,
    all_gaps,
    error_gap,
    full_runs,
    levels,
    mean_of,
    size_name,
)

__all__ = [
    "FALL_AND_RISE",
    "JOINTLY",
    "NOT",
    "NOTHING",
    "REPRODUCED",
    "UNDECIDED",
    "Claim",
    "D",
    "Finding",
    "N",
    "all_of",
    "basis_of",
    "by_beta",
    "errs_less",
    "main_error_falls_first",
    "series_in_words",
    "verdict",
    "within",
]

REPRODUCED, NOT, UNDECIDED = "reproduced", "not reproduced", "not decided at this size"
D, N = "test_error_deterministic", "test_error_noisy"

# Nats below which a layer lets nothing through, and what would be said of its share or correlation says nothing.
NOTHING = 1.0
JOINTLY = "Games and Howell's intervals"
FALL_AND_RISE = f"a larger beta errs less than the smallest, and a still larger one more than that; {JOINTLY}"
_EVERY_SIZE = "at every size the interval of the difference lies above zero"


@dataclass(frozen=True)
class Finding:
    """What our numbers say of a claim.

    Args:
        ours: Our numbers, in words.
        interval: What their intervals are.
        verdict: Reproduced, not reproduced, or not decided at this size.
    """

    ours: str
    interval: str
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of the paper.

    Args:
        words: The claim.
        paper: The paper's number or trend.
        rule: When it counts as reproduced.
        judge: Takes the figure's rows.
    """

    words: str
    paper: str
    rule: str
    judge: Callable[[pd.DataFrame], Finding]


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


def basis_of(estimates: Sequence[Estimate]) -> str:
    """What the intervals of estimates are over."""
    if not estimates:
        return "nothing to judge"
    basis = estimates[0].basis
    return basis if math.isnan(estimates[0].half) else f"95 %, {basis}"


def by_beta(rows: pd.DataFrame) -> tuple[list[float], list[pd.DataFrame]]:
    """The betas, ascending, and the rows of each."""
    betas = levels(rows, "setting")
    return betas, [rows[rows["setting"] == beta] for beta in betas]


def series_in_words(rows: pd.DataFrame, column: str) -> str:
    """An error at each beta."""
    betas, groups = by_beta(rows)
    return ", ".join(f"{b:g}: {100 * mean_of(g[column]):.1f} %" for b, g in zip(betas, groups, strict=True))


def errs_less(other: str, *, words: str, paper: str) -> Claim:
    """The claim that another kind of noise errs more than information dropout at every size, with the noise off.

    Args:
        other: That kind.
        words: The claim.
        paper: The paper's number or trend.
    """

    def judge(rows: pd.DataFrame) -> Finding:
        full = full_runs(rows)
        sizes = levels(full[full["dropout"] == "information"], "size")
        parts, quiet = [], []
        for size in sizes:
            at_size = full[full["size"] == size]
            rival, ours = (at_size[at_size["dropout"] == name] for name in (other, "information"))
            quiet.append(error_gap(rival, ours, D, parts=len(sizes)))
            noisy = error_gap(rival, ours, N, parts=len(sizes))
            parts.append(
                f"{size_name(size)}: {100 * mean_of(ours[D]):.2f} vs {100 * mean_of(rival[D]):.2f}, {other} errs "
                f"{quiet[-1]} points more (N: {noisy})"
            )
        said = f"D [%], information vs {other}, by size {'; '.join(parts)}"
        return Finding(said, basis_of(quiet), all_of([verdict(gap) for gap in quiet]))

    return Claim(words=words, paper=paper, rule=_EVERY_SIZE, judge=judge)


def main_error_falls_first(rows: pd.DataFrame) -> Finding:
    """Whether some larger beta errs less than the smallest, and a still larger one more than that, noise off."""
    betas, groups = by_beta(rows)
    gaps = all_gaps(groups, D)
    later = range(1, len(betas))
    falls = {b: verdict(gaps[0, b]) for b in later}
    rises = {b: [verdict(gaps[c, b]) for c in later if c > b] for b in later}
    if any(falls[b] == REPRODUCED and REPRODUCED in rises[b] for b in later):
        word = REPRODUCED
    elif all(fall == NOT for fall in falls.values()):
        word = NOT
    else:
        word = UNDECIDED
    best = max(later, key=lambda b: gaps[0, b].value)
    words = f"D: {series_in_words(rows, D)}; N: {series_in_words(rows, N)}; smallest beta errs "
    words += f"{gaps[0, best]} points more than β × N = {betas[best]:g}"
    if best < len(betas) - 1:
        words += f", the largest {gaps[len(betas) - 1, best]}"
    return Finding(words, f"{basis_of([gaps[0, best]])}, all pairs of betas at once", word)
