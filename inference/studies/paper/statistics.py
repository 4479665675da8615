"""What is told of the seeds' rows: means and differences with intervals, and the sizes behind them in words.

Rows are a ``pandas.DataFrame``, a row a run or a site or a bin of it; errors in them are shares, rates nats per
sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm, ttest_ind
from scipy.stats import t as student_t

from inference.runs.spec import RunSpec

__all__ = [
    "Estimate",
    "by_seed",
    "common_row",
    "error_gap",
    "full_runs",
    "interval",
    "levels",
    "mean_of",
    "read_rows",
    "size_name",
    "sizes_in_words",
]

# What every figure's CSV says of a run.
_RESULTS = (
    "beta",
    "beta_paper",
    "source",
    "num_train",
    "num_test",
    "num_parameters",
    "test_error_noisy",
    "test_error_predictive",
    "test_error_deterministic",
    "validation_error_noisy",
    "validation_error_deterministic",
    "train_error",
    "distortion",
    "rate",
)


def common_row(run: RunSpec, result: dict[str, Any]) -> dict[str, Any]:
    """The columns that say what a run was and how it did; errors are shares, rates nats per sample."""
    settings = {
        "model": run.program.model,
        "data": run.data.data,
        "size": run.program.size,
        "dropout": run.program.dropout,
        "activation": run.program.activation,
        "setting": run.strength,
        "batch_norm": run.program.batch_norm,
        "epochs": run.training.epochs,
        "seed": run.training.seed,
    }
    sites = {name: value for name, value in result.items() if name.startswith("rate/")}
    numbers = {name: result[name] for name in _RESULTS if result.get(name) is not None}
    return {**settings, **numbers, **sites}


def read_rows(path: Path) -> pd.DataFrame:
    """Read a figure's CSV, its numbers to the last digit; what is empty in it is missing, and nothing else is."""
    # Versions of pandas differ in the last digit of what they read as a number.
    text = pd.read_csv(path, dtype=str, keep_default_na=False)
    return pd.DataFrame({name: [_cell(cell) for cell in text[name]] for name in text})


def _cell(text: str) -> Any:  # noqa: ANN401 - a number, a truth value or a word
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"True": True, "False": False, "": np.nan}.get(text, text)


def levels(rows: pd.DataFrame, column: str) -> list[Any]:
    """Distinct values of a column, ascending."""
    return sorted(rows[column].dropna().unique().tolist())


def full_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of full fits, where a figure has trials and others beside them."""
    return rows[rows["stage"] == "full"] if "stage" in rows else rows


def by_seed(rows: pd.DataFrame, column: str) -> pd.Series:
    """A column's value of each seed."""
    return rows.set_index("seed")[column]


def mean_of(values: Sequence[float] | pd.Series) -> float:
    """The mean, its sum rounded once."""
    return math.fsum(values) / len(values)


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


def interval(values: Sequence[float] | pd.Series, confidence: float = 0.95) -> tuple[float, float]:
    """Mean and half-width of its Student-t interval; the half-width of a single value is NaN.

    Raises:
        ValueError: If there is no value.

    >>> mean, half = interval([1.0, 2.0, 3.0])
    >>> round(mean, 3), round(half, 3)
    (2.0, 2.484)
    """
    data = np.asarray(values, dtype=float)
    if len(data) == 0:
        raise ValueError("values: empty; the CSV lacks the rows of a method, size or beta that others have")
    if len(data) == 1:
        return float(data[0]), math.nan
    half = student_t.ppf(0.5 + confidence / 2, len(data) - 1) * data.std(ddof=1) / math.sqrt(len(data))
    return float(data.mean()), float(half)


def error_gap(more: pd.DataFrame, less: pd.DataFrame, column: str, *, parts: int = 1) -> Estimate:
    """How much larger one group's error is than another's, in percentage points.

    With several seeds a group, the interval is Welch's over the seeds. With one, it covers the choice of the test
    images only, and fits may differ by more.

    Args:
        more: Rows of the group that should err more, a row a seed.
        less: Rows of the other one.
        column: An error, as a share.
        parts: Number of gaps that a claim rests on; their 95 % intervals hold jointly (Bonferroni).
    """
    groups = [100 * rows[column].to_numpy() for rows in (more, less)]
    value = float(np.mean(groups[0]) - np.mean(groups[1]))
    seeds = min(map(len, groups))
    level = 1 - 0.05 / parts
    if seeds > 1:
        if all(group.max() == group.min() for group in groups):
            return Estimate(value, 0.0, f"{seeds} seeds")
        low, high = ttest_ind(*groups, equal_var=False).confidence_interval(level)
        return Estimate(value, float(high - low) / 2, f"{seeds} seeds")
    firsts = [rows.iloc[0] for rows in (more, less)]
    variance = sum(row[column] * (1 - row[column]) / row["num_test"] for row in firsts)
    half = 100 * float(norm.ppf(0.5 + level / 2)) * math.sqrt(variance)
    return Estimate(value, half, "test images, one fit each")


def size_name(size: float) -> str:
    """A width as it is, a share of the filters in percent."""
    return f"{size:g}" if size >= 2 else f"{100 * size:.3g} %"


def sizes_in_words(rows: pd.DataFrame) -> str:
    """Preset and sizes of the runs behind a figure, for its caption."""
    first = rows.iloc[0]
    seeds, epochs = len(levels(rows, "seed")), int(rows["epochs"].max())
    source = "" if first.get("source") == "real" else ", STAND-IN images"
    return (
        f"preset {first.get('preset', '?')}{source}: {int(first['num_train']):,} training and "
        f"{int(first['num_test']):,} test images, {epochs} epoch{'s' if epochs > 1 else ''}, "
        f"{seeds} seed{'s' if seeds > 1 else ''}"
    )
