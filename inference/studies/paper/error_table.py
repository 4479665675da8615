"""A table of test errors by method, strength and size, with standard errors over the seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import pandas as pd

from inference.studies.paper.methods import METHODS
from inference.studies.paper.statistics import size_name

__all__ = ["error_table"]

_HEAD = ("noise", "strength", "size", "seeds", "N [%]", "D [%]", "rate [nats per image]")


def error_table(rows: pd.DataFrame) -> list[str]:
    """Lines of a Markdown table: errors with one noise sample (N) and without noise (D), ± their standard error.

    Args:
        rows: Rows of runs, a row a seed; those that agree in all else are one line of the table.

    Returns:
        The lines, in the order in which the groups first appear, by size.
    """
    rows = rows if "setting" in rows else rows.assign(setting=math.nan)
    lines = [f"| {' | '.join(_HEAD)} |", f"|{'---|' * len(_HEAD)}"]
    for _, at_size in rows.groupby("size"):
        for (dropout, setting), runs in at_size.groupby(["dropout", "setting"], sort=False, dropna=False):
            cells = [
                dropout,
                "" if setting is None or math.isnan(setting) else f"{METHODS[dropout].short}{setting:g}",
                size_name(runs["size"].iloc[0]),
                str(len(runs)),
                _with_error(100 * runs["test_error_noisy"]),
                _with_error(100 * runs["test_error_deterministic"]),
                f"{statistics.fmean(runs['rate']):.1f}" if dropout == "information" else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _with_error(values: Sequence[float] | pd.Series) -> str:
    values = list(values)
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.2f}"
    return f"{mean:.2f} ± {statistics.stdev(values) / math.sqrt(len(values)):.2f}"
