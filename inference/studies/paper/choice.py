"""How each method chooses its strength: short fits at one size, judged on held-out images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from inference.studies.paper.methods import METHODS

__all__ = ["chosen_options", "chosen_settings", "has_chosen", "trials_of"]


def trials_of(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the fits that choose."""
    return rows[rows["stage"] == "choice"] if "stage" in rows else rows.iloc[:0]


def has_chosen(rows: pd.DataFrame, candidates: Mapping[str, Sequence[float]]) -> bool:
    """Whether the rows hold a trial of every candidate."""
    return len(trials_of(rows)) >= sum(len(values) for values in candidates.values())


def chosen_options(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """What each method chose, as an option of a run."""
    return {name: {str(METHODS[name].strength): value} for name, value in chosen_settings(rows).items()}


def chosen_settings(rows: pd.DataFrame) -> dict[str, float]:
    """The strength that each method chose: the one with the smallest held-out error with the noise off.

    Args:
        rows: A figure's rows.

    Returns:
        Method to strength, for the methods that had a choice; of equal errors the first tried wins.
    """
    trials = trials_of(rows)
    chosen = {}
    for name in METHODS:
        tried = trials[trials["dropout"] == name] if len(trials) else trials
        if len(tried):
            chosen[name] = float(tried.loc[tried["validation_error_deterministic"].idxmin(), "setting"])
    return chosen
