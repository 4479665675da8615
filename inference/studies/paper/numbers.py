"""What the figures do with rows of numbers: select, group, and take means with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from inference.runs.spec import RunSpec

__all__ = ["common_row", "interval", "select", "size_name", "sizes_in_words", "values_of"]

Row = dict[str, Any]

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


def common_row(run: RunSpec, result: Row) -> Row:
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


def select(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    """Rows whose columns have the wanted values."""
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def values_of(rows: Sequence[Row], column: str) -> list[Any]:
    """Distinct values of a column, ascending."""
    return sorted({row[column] for row in rows if column in row})


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
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


def size_name(size: float) -> str:
    """A width as it is, a share of the filters in percent."""
    return f"{size:g}" if size >= 2 else f"{100 * size:.3g} %"


def sizes_in_words(rows: Sequence[Row]) -> str:
    """Preset and sizes of the runs behind a figure, for its caption."""
    first = rows[0]
    seeds, epochs = len(values_of(rows, "seed")), max(values_of(rows, "epochs"))
    source = "" if first.get("source") == "real" else ", STAND-IN images"
    return (
        f"preset {first.get('preset', '?')}{source}: {first['num_train']:,} training and {first['num_test']:,} test "
        f"images, {epochs} epoch{'s' if epochs > 1 else ''}, {seeds} seed{'s' if seeds > 1 else ''}"
    )
