"""The demo's table, for a terminal and for a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from inference.demo.summary import Mean, Summary

__all__ = ["summary_rows", "summary_table"]


def summary_table(summaries: Sequence[Summary]) -> Table:
    """Lay the settings out as a table, with each method's choice in bold."""
    seeds = summaries[0].seeds
    table = Table(
        title=f"digits: mean ± standard error over {seeds} seeds",
        caption="* the method's choice: least error on held-out images, noise off. Test error with the noise off "
        "(off) and of 16 noise samples (on). Distortion and rate: nats per sample, test set, under noise; noise that "
        "is not learned is charged no rate.",
    )
    columns = (
        "dropout",
        "its noise",
        "held-out error",
        "test error, off",
        "test error, on",
        "distortion",
        "rate",
    )
    for name in columns:
        table.add_column(name, justify="left" if name in columns[:2] else "right", no_wrap=True)
    for before, summary in zip([None, *summaries], summaries, strict=False):
        if before is not None and before.setting.dropout != summary.setting.dropout:
            table.add_section()
        table.add_row(*_cells(summary), style="bold" if summary.chosen else None)
    return table


def summary_rows(summaries: Sequence[Summary]) -> list[dict[str, Any]]:
    """Flatten the settings to rows of a CSV file; ``_se`` is a standard error over seeds."""
    rows = []
    for summary in summaries:
        setting = summary.setting
        row: dict[str, Any] = {
            "dropout": setting.dropout,
            "option": setting.option or "",
            "value": setting.value,
        }
        row |= {"seeds": summary.seeds, "chosen": summary.chosen, "beta": summary.beta}
        for name in ("validation_error", "error", "error_predictive", "distortion", "rate"):
            mean: Mean = getattr(summary, name)
            row |= {name: mean.value, f"{name}_se": mean.error}
        rows.append(row)
    return rows


def _cells(summary: Summary) -> tuple[str, ...]:
    errors = (summary.validation_error, summary.error, summary.error_predictive)
    learned = summary.setting.dropout == "information"
    return (
        f"{summary.setting.dropout}{' *' if summary.chosen else ''}",
        _noise(summary),
        *(f"{100 * mean.value:.2f}{_plus_minus(100 * mean.error, 2)} %" for mean in errors),
        f"{summary.distortion.value:.3f}{_plus_minus(summary.distortion.error, 3)}",
        f"{summary.rate.value:.2f}{_plus_minus(summary.rate.error, 2)}" if learned else "",
    )


def _noise(summary: Summary) -> str:
    setting = summary.setting
    if setting.option is None:
        return ""
    if setting.option == "beta_paper":
        return f"beta {summary.beta:.1e} (paper: {setting.value:g})"
    return f"{setting.option.replace('_', ' ')} {setting.value:g}"


def _plus_minus(error: float, digits: int) -> str:
    return "" if math.isnan(error) else f" ± {error:.{digits}f}"
