"""Tables of what came of runs, whichever way they were trained."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ib_pyro.side_by_side.runs import Run, SideBySide, columns_of

__all__ = ["result_of"]

Row = dict[str, Any]


def result_of(
    runs: Sequence[Run],
    programs: Sequence[nn.Module],
    history: Sequence[Row],
    diverged: Mapping[str, str],
    *,
    validation: Sequence[Row] | None,
    test: Sequence[Row] | None,
    not_replayed: str | None,
) -> SideBySide:
    """Put together what came of runs, and warn of those that have diverged.

    Args:
        runs: The runs.
        programs: Their programs.
        history: A row for each epoch and run, with its name as ``run``.
        diverged: Why, by name.
        validation: What each does on the validation set.
        test: What each does on the test set.
        not_replayed: Why steps were not replayed.
    """
    import pandas as pd  # type: ignore[import-untyped]

    settings = {run.name: row for run, row in zip(runs, columns_of(runs), strict=True)}
    last = {row["run"]: row for row in history}
    table = []
    for k, run in enumerate(runs):
        row = {**settings[run.name], "diverged": run.name in diverged}
        row |= _last_means(last.get(run.name, {})) if validation is None else validation[k]
        table.append(row | {f"test_{name}": value for name, value in (test[k] if test else {}).items()})
    if diverged:
        shown = "; ".join(f"run {name}: {why}" for name, why in diverged.items())
        warnings.warn(f"{shown}. The other runs are as they are without", stacklevel=3)
    rows = [{"run": row["run"], **settings[row["run"]], **row} for row in history]
    by_name = {run.name: program for run, program in zip(runs, programs, strict=True)}
    return SideBySide(
        tuple(runs), by_name, pd.DataFrame(rows), pd.DataFrame(table), dict(diverged), not_replayed
    )


def _last_means(row: Mapping[str, Any]) -> Row:
    return {name: value for name, value in row.items() if name not in ("run", "epoch", "loss", "lr")}
