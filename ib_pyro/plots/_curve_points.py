"""The points of a rate-distortion curve, out of runs or of means, and what a legend has to say of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student_t
from torch import Tensor

from ib_pyro.plots._axes import as_numbers, as_real
from ib_pyro.run_tables import has_diverged, has_means, require_one_of_each_seed

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

__all__ = ["CurvePoints", "points_of_arrays", "points_of_table"]

QUANTITIES = ("rate", "distortion")
USABLE = "usable"


class CurvePoints(NamedTuple):
    """Points of a curve, in the order of what they were given as."""

    rate: np.ndarray
    """Mean over seeds, [points], nats per sample."""
    distortion: np.ndarray
    """Likewise."""
    rate_bars: np.ndarray
    """How far the bars reach below and above the mean, [2, points]; 0 where there are none."""
    distortion_bars: np.ndarray
    """Likewise."""
    beta: np.ndarray | None
    """Label of each, [points]."""
    said: tuple[str, ...]
    """How many seeds and what the bars are, and, on a line of its own, what is left out."""


class _Runs(NamedTuple):
    """The runs of each point, without those that have diverged, of which there is the number."""

    rate: Sequence[np.ndarray]
    distortion: Sequence[np.ndarray]
    beta: np.ndarray | None
    diverged: int = 0
    called: str = "seed"


def points_of_arrays(
    rate: Tensor | ArrayLike,
    distortion: Tensor | ArrayLike,
    beta: Tensor | ArrayLike | None,
    confidence: float | None,
) -> CurvePoints:
    """Average arrays over seeds.

    Args:
        rate: [betas] or [betas, seeds].
        distortion: As the rate.
        beta: [betas], or None.
        confidence: Level of the bars; None: one standard error.

    Raises:
        ValueError: If shapes differ, a beta is not finite, or no run has a finite rate and distortion.
    """
    r, d = as_real(rate, "rate", 1, 2), as_real(distortion, "distortion", 1, 2)
    if r.shape != d.shape:
        raise ValueError(f"rate, distortion: shapes {list(r.shape)} and {list(d.shape)} differ")
    b = None if beta is None else as_numbers(beta, "beta", 1)
    if b is not None and len(b) != len(r):
        raise ValueError(f"beta: {len(b)} values for {len(r)} points")
    return _averaged(_Runs(list(r.reshape(len(r), -1)), list(d.reshape(len(d), -1)), b), confidence)


def points_of_table(table: pd.DataFrame, confidence: float | None) -> CurvePoints:
    """Read a table of runs, or one of means over seeds.

    Args:
        table: Columns ``beta``, ``rate`` and ``distortion``; of runs also ``seed`` and ``diverged``; of means
            ``seeds``, ``diverged`` (how many), ``usable``, and bars as ``rate_se`` or ``rate_low`` and ``rate_high``.
        confidence: Level of the bars; None: one standard error, or what a table of means has.

    Raises:
        ValueError: If a column is missing, a beta is no number, has a seed twice among runs or stands twice among
            means, intervals have another level, or there is nothing to draw.
    """
    missing = [name for name in ("beta", *QUANTITIES) if name not in table]
    if missing:
        of_rule = "; that of a choice has what its rule looks at: draw the sweep" if USABLE in table else ""
        raise ValueError(
            f"the table has no column {missing[0]!r}; its columns are {list(table.columns)}{of_rule}"
        )
    if table.empty:
        raise ValueError("no run to draw: the table has no rows")
    numbers = {name: as_real(table[name], name, 1) for name in QUANTITIES}
    numbers["beta"] = as_numbers(table["beta"], "beta", 1)
    read = _of_means if has_means(table) else _of_runs
    return read(table.assign(**numbers), confidence)


def _of_runs(table: pd.DataFrame, confidence: float | None) -> CurvePoints:
    betas = np.unique(table["beta"])
    for beta in betas:
        require_one_of_each_seed(table[table["beta"] == beta], "beta", beta)
    diverged = has_diverged(table).to_numpy()
    sound = table[~diverged]
    rate, distortion = (
        [sound[name][sound["beta"] == beta].to_numpy() for beta in betas] for name in QUANTITIES
    )
    # Without seeds nothing says that the runs differ in nothing else.
    called = "seed" if "seed" in table else "run"
    return _averaged(_Runs(rate, distortion, betas, int(diverged.sum()), called), confidence)


def _averaged(runs: _Runs, confidence: float | None) -> CurvePoints:
    """Means and bars over the runs of each point that have both numbers."""
    finite = [np.isfinite(r) & np.isfinite(d) for r, d in zip(runs.rate, runs.distortion, strict=True)]
    drawn = np.array([bool(each.any()) for each in finite])
    lost = sum(int((~each).sum()) for each in finite)
    if not drawn.any():
        also = " or have no finite rate and distortion" if lost else ""
        raise ValueError(f"no run to draw: {runs.diverged + lost} are given, and all have diverged{also}")
    rate, distortion = (
        [values[here] for values, here in zip(of, finite, strict=True) if here.any()]
        for of in (runs.rate, runs.distortion)
    )
    seeds = np.array([len(values) for values in rate])
    factor = _factor(seeds, confidence)
    return CurvePoints(
        np.array([values.mean() for values in rate]),
        np.array([values.mean() for values in distortion]),
        np.tile(factor * _standard_errors(rate), (2, 1)),
        np.tile(factor * _standard_errors(distortion), (2, 1)),
        None if runs.beta is None else runs.beta[drawn],
        (
            _mean_of(seeds, runs.called, _level(confidence)),
            *_left_out(runs.diverged, lost, runs.beta, drawn),
        ),
    )


def _of_means(table: pd.DataFrame, confidence: float | None) -> CurvePoints:
    if "beta_low" in table:
        raise ValueError("the table is averaged over betas, by another column; average it by='beta'")
    beta = table["beta"].to_numpy()
    values, counts = np.unique(beta, return_counts=True)
    if counts.max() > 1:
        raise ValueError(
            f"beta={values[counts.argmax()]:g} stands in {counts.max()} rows of means, which differ in something "
            "else; draw those of one setting at a time"
        )
    seeds = as_numbers(table["seeds"], "seeds", 1)
    drawn = np.isfinite(table[list(QUANTITIES)].to_numpy()).all(1) & (seeds > 0)
    if USABLE in table:
        drawn &= table[USABLE].isin([True]).to_numpy()
    if not drawn.any():
        raise ValueError(f"no run to draw: none of {len(table)} rows has finite means that are to be used")
    diverged = int(as_numbers(table["diverged"], "diverged", 1).sum()) if "diverged" in table else 0
    shown, seeds = table[drawn], seeds[drawn].astype(int)
    level, rate_bars, distortion_bars = _bars_of_means(shown, seeds, confidence)
    return CurvePoints(
        shown["rate"].to_numpy(),
        shown["distortion"].to_numpy(),
        rate_bars,
        distortion_bars,
        beta[drawn],
        (_mean_of(seeds, "seed", level), *_left_out(diverged, 0, beta, drawn)),
    )


def _bars_of_means(
    table: pd.DataFrame, seeds: np.ndarray, confidence: float | None
) -> tuple[str, np.ndarray, np.ndarray]:
    """What the bars of a table are, and how far they reach, [2, points], in rate and in distortion."""
    if all(f"{name}_se" in table for name in QUANTITIES):
        factor = _factor(seeds, confidence)
        rate, distortion = (
            np.tile(factor * np.nan_to_num(as_real(table[f"{name}_se"], f"{name}_se", 1)), (2, 1))
            for name in QUANTITIES
        )
        return _level(confidence), rate, distortion
    has_intervals = all(f"{name}_{end}" in table for name in QUANTITIES for end in ("low", "high"))
    known = table.attrs.get("confidence") if has_intervals else None
    if confidence is not None and confidence != known:
        level = f"of level {known}" if known else "of a level that is not said"
        its = f"intervals {level}" if has_intervals else "no intervals"
        raise ValueError(
            f"confidence: {confidence}, but the rows are means over seeds with {its}; leave it out, or draw the table "
            "of the runs"
        )
    if not has_intervals:
        return "", np.zeros((2, len(seeds))), np.zeros((2, len(seeds)))
    # Of one seed there is no interval.
    rate, distortion = (
        np.nan_to_num(np.stack([table[name] - table[f"{name}_low"], table[f"{name}_high"] - table[name]]))
        for name in QUANTITIES
    )
    return ", the table's intervals" if known is None else _level(known), rate, distortion


def _standard_errors(points: Sequence[np.ndarray]) -> np.ndarray:
    """Standard error of each point's mean, s / sqrt(n); 0 for one run."""
    return np.array([v.std(ddof=1) / np.sqrt(len(v)) if len(v) > 1 else 0.0 for v in points])


def _factor(seeds: np.ndarray, confidence: float | None) -> np.ndarray:
    """Standard errors in half an interval, for each number of seeds."""
    if confidence is None:
        return np.ones(len(seeds))
    return np.asarray(student_t.ppf(0.5 + confidence / 2, np.maximum(seeds - 1, 1)))


def _level(confidence: float | None) -> str:
    return " ± standard error" if confidence is None else f", {100 * confidence:g} % interval"


def _mean_of(seeds: np.ndarray, called: str, level: str) -> str:
    least, most = seeds.min(), seeds.max()
    if most == 1:
        return f"1 {called}"
    return f"mean of {most if least == most else f'{least} to {most}'} {called}s{level}"


def _left_out(diverged: int, lost: int, beta: np.ndarray | None, drawn: np.ndarray) -> list[str]:
    """What the curve does without, a line for runs and one for whole points."""
    kinds = ((diverged, "diverged"), (lost, "not finite"))
    runs = ", ".join(f"{number} {kind}" for number, kind in kinds if number)
    lines = [f"runs left out: {runs}"] if runs else []
    if not drawn.all():
        where = np.flatnonzero(~drawn) if beta is None else beta[~drawn]
        lines.append(
            f"no point {'of row' if beta is None else 'at β ='} {', '.join(f'{v:.3g}' for v in where)}"
        )
    return lines
