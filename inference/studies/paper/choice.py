"""How each kind of noise chooses its strength: short fits at one size, judged on held-out images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference.studies.paper.numbers import select

__all__ = ["STRENGTHS", "chosen_options", "chosen_settings", "has_chosen"]

Row = dict[str, Any]

# What a method's strength is called in a run.
STRENGTHS = {"information": "beta_paper", "binary": "drop_prob", "constant": "alpha"}


def has_chosen(rows: Sequence[Row], candidates: Mapping[str, Sequence[float]]) -> bool:
    """Whether the rows hold a trial of every candidate."""
    return len(select(rows, stage="choice")) >= sum(len(values) for values in candidates.values())


def chosen_options(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """What each method chose, as an option of a run."""
    return {name: {STRENGTHS[name]: value} for name, value in chosen_settings(rows).items()}


def chosen_settings(rows: Sequence[Row]) -> dict[str, float]:
    """The strength that each method chose: the one with the smallest held-out error with the noise off.

    Args:
        rows: A figure's rows; those of the trials have the stage ``"choice"``.

    Returns:
        Method to strength, for the methods that had a choice; of equal errors the first tried wins.
    """
    trials = select(rows, stage="choice")
    by_method = {name: select(trials, dropout=name) for name in STRENGTHS}
    return {
        name: min(tried, key=lambda row: row["validation_error_deterministic"])["setting"]
        for name, tried in by_method.items()
        if tried
    }
