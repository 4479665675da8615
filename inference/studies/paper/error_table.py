"""A table of test errors by method, strength and size, with standard errors over the seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from inference.studies.paper.numbers import size_name

__all__ = ["error_table"]

Row = dict[str, Any]
_HEAD = ("noise", "strength", "size", "seeds", "N [%]", "D [%]", "rate [nats per image]")
_STRENGTHS = {"information": "β × N = ", "binary": "drop ", "constant": "scale "}


def error_table(rows: Sequence[Row]) -> list[str]:
    """Lines of a Markdown table: errors with one noise sample (N) and without noise (D), ± their standard error.

    Args:
        rows: Rows of runs, a row a seed; those that agree in all else are one line of the table.

    Returns:
        The lines, in the order in which the groups first appear, by size.
    """
    groups: dict[tuple[float, str, float | None], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["size"], row["dropout"], row.get("setting")), []).append(row)
    lines = [f"| {' | '.join(_HEAD)} |", f"|{'---|' * len(_HEAD)}"]
    for (size, dropout, setting), runs in sorted(groups.items(), key=lambda item: item[0][0]):
        noisy, quiet = (
            [100 * run[f"test_error_{kind}"] for run in runs] for kind in ("noisy", "deterministic")
        )
        cells = [
            dropout,
            "" if setting is None else f"{_STRENGTHS.get(dropout, '')}{setting:g}",
            size_name(size),
            str(len(runs)),
            _with_error(noisy),
            _with_error(quiet),
            f"{statistics.fmean(run['rate'] for run in runs):.1f}" if dropout == "information" else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _with_error(values: Sequence[float]) -> str:
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.2f}"
    return f"{mean:.2f} ± {statistics.stdev(values) / math.sqrt(len(values)):.2f}"
