"""Claims, what our numbers say of them, and the rules that several figures judge by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from inference.studies.paper.evidence import (
    CANNOT,
    FEW,
    MIN_SEEDS,
    NOT,
    UNDECIDED,
    Part,
    complete_seeds,
    every,
    falls_then_rises,
    positive,
)
from inference.studies.paper.statistics import by_seed, levels, mean_of, size_name

__all__ = [
    "FALL_AND_RISE",
    "NOTHING",
    "OVERFITS",
    "Claim",
    "D",
    "Finding",
    "N",
    "by_beta",
    "errs_less",
    "main_error_falls_first",
    "methods_at",
    "not_worse",
    "not_overfitting",
    "series_in_words",
    "unless",
]

D, N = "test_error_deterministic", "test_error_noisy"

# Nats below which a layer lets nothing through, and what would be said of its share or correlation says nothing.
NOTHING = 1.0
# A network overfits if its training error at the end of the fit is at most this share of its test error.
OVERFITS = 0.5
FALL_AND_RISE = (
    "some inner beta errs less than the smallest and less than the largest, each at 5 % divided by the number of "
    "inner "
    "betas; not reproduced if every larger beta errs more than the smallest"
)
_EVERY_SIZE = "at every size information dropout errs less, each at 5 %, one-sided, over the seeds"


@dataclass(frozen=True)
class Finding:
    """What our numbers say of a claim.

    Args:
        ours: Our numbers, in words.
        parts: The parts that were judged.
        verdict: Reproduced, not reproduced, not decided at this size, or why nothing is judged.
        planned: Number of seeds that were planned; 0 if that is not known.
    """

    ours: str
    parts: Sequence[Part]
    verdict: str
    planned: int = 0

    @property
    def interval(self) -> str:
        """What the intervals of the parts are over, and of how many seeds runs are missing."""
        if not self.parts:
            return "nothing to judge"
        seeds = min(part.seeds for part in self.parts)
        of = f" of {self.planned} planned" if seeds < self.planned else ""
        spread = "one fit each" if seeds == 1 else "90 %"
        return f"{spread}, {seeds}{of} seed{'s' if seeds > 1 or of else ''}"


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


def unless(verdict: str, reason: str) -> str:
    """The verdict, or that the preset cannot test the claim, if there is a reason and the claim was not reproduced."""
    return CANNOT if reason and verdict in (NOT, UNDECIDED) else verdict


def not_overfitting(rows: pd.DataFrame, name: Callable[[float], str], column: str = "size") -> str:
    """Why noise cannot help here: the groups of reference fits whose training error is no half of their test error.

    Args:
        rows: Rows of the reference fits: without noise, or at the smallest beta.
        name: What a value of the column is called.
        column: What tells the groups apart.

    Returns:
        The reason in words; empty if every group overfits.
    """
    calm = []
    for value in levels(rows, column):
        group = rows[rows[column] == value]
        train, test = mean_of(group["train_error"]), mean_of(group[D])
        if train > OVERFITS * test:
            errors = f"training error {100 * train:.1f} %, above half of the test's {100 * test:.1f} %"
            calm.append(f"{name(value)} ({errors})")
    return f"; the reference does not overfit at {', '.join(calm)}" if calm else ""


def by_beta(rows: pd.DataFrame) -> tuple[list[float], list[pd.DataFrame]]:
    """The betas, ascending, and the rows of each."""
    betas = levels(rows, "setting")
    return betas, [rows[rows["setting"] == beta] for beta in betas]


def series_in_words(rows: pd.DataFrame, column: str) -> str:
    """An error at each beta."""
    betas, groups = by_beta(rows)
    return ", ".join(f"{b:g}: {100 * mean_of(g[column]):.1f} %" for b, g in zip(betas, groups, strict=True))


def methods_at(rows: pd.DataFrame, stage: str, *names: str) -> pd.DataFrame:
    """The rows of some methods at a stage, of the seeds that are complete; no noise is the same at every stage."""
    none = (rows["dropout"] == "none") & (rows["stage"] == "full")
    found = rows[rows["dropout"].isin(names) & ((rows["stage"] == stage) | none)]
    return complete_seeds(found, ["dropout", "size"])


def errs_less(other: str, *, words: str, paper: str, column: str = D, stage: str = "full") -> Claim:
    """The claim that another kind of noise errs more than information dropout at every size.

    Args:
        other: That kind.
        words: The claim.
        paper: The paper's number or trend.
        column: The error: with the noise off or on.
        stage: The fits that are compared.
    """

    def judge(rows: pd.DataFrame) -> Finding:
        found = methods_at(rows, stage, "information", other)
        if found.empty:
            return _nothing()
        parts, said = [], []
        for size in levels(found, "size"):
            at_size = found[found["size"] == size]
            rival, ours = (at_size[at_size["dropout"] == name] for name in (other, "information"))
            parts.append(_excess(rival, ours, column))
            said.append(
                f"{size_name(size)}: {100 * mean_of(ours[column]):.2f} vs {100 * mean_of(rival[column]):.2f}, {other} "
                f"errs {parts[-1]} points more"
            )
        reason = not_overfitting(methods_at(rows, "full", "none"), size_name)
        kind = "D" if column == D else "N"
        text = f"{kind} [%], information vs {other}, by size {'; '.join(said)}{reason}"
        return Finding(text, parts, unless(every(parts), reason))

    return Claim(words=words, paper=paper, rule=_EVERY_SIZE, judge=judge)


def not_worse(others: Sequence[str], margin: float, *, words: str, paper: str) -> Claim:
    """The claim that information dropout errs at most a margin more than each of some others, at every size.

    Args:
        others: The other kinds of noise.
        margin: Non-inferiority margin, in percentage points.
        words: The claim.
        paper: The paper's number or trend.
    """

    def judge(rows: pd.DataFrame) -> Finding:
        found = methods_at(rows, "full", "information", *others)
        if found.empty:
            return _nothing()
        parts, said = [], []
        for size in levels(found, "size"):
            at_size = found[found["size"] == size]
            ours = at_size[at_size["dropout"] == "information"]
            for other in others:
                gap = _excess(ours, at_size[at_size["dropout"] == other], D)
                parts.append(_within_margin(ours, at_size[at_size["dropout"] == other], margin))
                said.append(f"{size_name(size)}: {gap} than {other}")
        text = f"D, information errs more by [points] {'; '.join(said)}"
        return Finding(text, parts, every(parts))

    rule = f"at every size less than {margin:g} points more than each of {', '.join(others)}, each at 5 %, one-sided"
    return Claim(words=words, paper=paper, rule=rule, judge=judge)


def main_error_falls_first(rows: pd.DataFrame) -> Finding:
    """Whether some inner beta errs less than the smallest and less than the largest, noise off."""
    rows = complete_seeds(rows, ["setting"])
    if rows.empty:
        return _nothing()
    betas, groups = by_beta(rows)
    series = [100 * by_seed(group, D) for group in groups]
    word, fall, rise = falls_then_rises(series)
    best = min(betas[1:-1] or betas[1:], key=lambda beta: mean_of(series[betas.index(beta)]))
    reason = not_overfitting(groups[0], lambda beta: f"β × N = {beta:g}", "setting")
    words = (
        f"D: {series_in_words(rows, D)}; N: {series_in_words(rows, N)}; smallest beta errs {fall} points more than "
        f"β × N = {best:g}, the largest {rise}{reason}"
    )
    return Finding(words, [fall, rise], unless(word, reason))


def _excess(more: pd.DataFrame, less: pd.DataFrame, column: str) -> Part:
    """By how many points one method errs more than another, seed by seed."""
    return positive(100 * (by_seed(more, column) - by_seed(less, column)))


def _within_margin(ours: pd.DataFrame, other: pd.DataFrame, margin: float) -> Part:
    return positive(margin - 100 * (by_seed(ours, D) - by_seed(other, D)))


def _nothing() -> Finding:
    return Finding(f"fewer than {MIN_SEEDS} seeds have every run", [], FEW)
