"""The demo's table, for a terminal and for a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from inference.studies.demo.grid import UNITS
from inference.studies.demo.summary import Mean, Summary

__all__ = ["summary_markdown", "summary_rows", "summary_table"]


def summary_table(summaries: Sequence[Summary]) -> Table:
    """Lay the settings out as a table of 80 columns, with each method's choice in bold."""
    table = Table(
        title=f"errors on digits: mean ± standard error over {summaries[0].seeds} seeds",
        caption="* the method's choice, by the error on held-out images with the noise off. Rate: nats per sample, "
        "test set; noise that is not learned is charged none. beta_paper is beta (per sample, nats) times the "
        "number of training images.",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    table.add_column("dropout and its noise", no_wrap=True)
    for name in ("held out, %\nnoise off", "test, %\nnoise off", "test, %\n16 draws", "rate,\nnats"):
        table.add_column(name, justify="right", no_wrap=True)
    for before, summary in zip([None, *summaries], summaries, strict=False):
        if before is not None and before.setting.dropout != summary.setting.dropout:
            table.add_section()
        table.add_row(*_cells(summary), style="bold" if summary.chosen else None)
    return table


def summary_markdown(summaries: Sequence[Summary]) -> list[str]:
    """Each method's choice as a table for a page: test errors in percent with 95 % intervals."""
    lines = [
        "| dropout | chosen on held-out images | test error, noise off, % | test error, 16 draws, % |",
        "|---|---|---|---|",
    ]
    for summary in summaries:
        if summary.chosen:
            option = summary.setting.option
            strength = "" if option is None else f"{UNITS[option]} {summary.setting.value:g}"
            errors = f"{summary.error.percent()} | {summary.error_predictive.percent()}"
            lines.append(f"| {summary.setting.dropout} | {strength} | {errors} |")
    return lines


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
    setting = summary.setting
    noise = "" if setting.option is None else f" {setting.option} {setting.value:g}"
    errors = (summary.validation_error, summary.error, summary.error_predictive)
    learned = setting.dropout == "information"
    return (
        f"{setting.dropout}{noise}{' *' if summary.chosen else ''}",
        *(_plus_minus(mean, 100) for mean in errors),
        _plus_minus(summary.rate) if learned else "",
    )


def _plus_minus(mean: Mean, factor: float = 1.0) -> str:
    text = f"{factor * mean.value:.2f}"
    return text if math.isnan(mean.error) else f"{text} ± {factor * mean.error:.2f}"
