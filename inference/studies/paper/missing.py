"""Runs that a figure's CSV lacks because they failed: a CSV of their own beside it, and a word in the picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from inference.json_and_csv import write_csv
from inference.runs.failure import Failure

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["missing_runs", "note_missing", "write_missing"]


def write_missing(numbers: Path, failures: Mapping[str, tuple[Failure, Mapping[str, Any]]]) -> None:
    """Write which runs a CSV lacks; where it lacks none, no file is left that says so.

    Args:
        numbers: The figure's CSV.
        failures: By any key, why a run failed and the labels that its rows would have.
    """
    path = _beside(numbers)
    if not failures:
        path.unlink(missing_ok=True)
        return
    write_csv(
        path,
        [
            {"run": failure.run, **labels, "why": failure.message or failure.type}
            for failure, labels in failures.values()
        ],
    )


def missing_runs(numbers: Path) -> dict[str, str]:
    """The runs that a figure's CSV lacks because they failed, each with the reason."""
    path = _beside(numbers)
    if not path.exists():
        return {}
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    return dict(zip(rows["run"], rows["why"], strict=True))


def note_missing(figure: matplotlib.figure.Figure, count: int) -> None:
    """Say in a picture that runs are missing from it."""
    if count:
        text = f"without {count} {'run that' if count == 1 else 'runs that'} failed"
        figure.text(0.995, 0.005, text, ha="right", va="bottom", fontsize="x-small", color="tab:red")


def _beside(numbers: Path) -> Path:
    return numbers.with_name(f"{numbers.stem}.missing.csv")
