"""The methods that the figures compare: what each is called, how it chooses its strength, and how it is drawn.

A method chooses by short fits at one size, judged on held-out images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

__all__ = [
    "BLUE",
    "GREEN",
    "METHODS",
    "ORANGE",
    "PURPLE",
    "VERMILION",
    "Method",
    "chosen_options",
    "chosen_settings",
    "has_chosen",
    "trials_of",
]

# Okabe & Ito (2008): told apart under every common colour-vision deficiency.
BLUE, ORANGE, VERMILION, GREEN, PURPLE = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7"


@dataclass(frozen=True, kw_only=True)
class Method:
    """A kind of noise.

    Args:
        name: What it is called in a run, a key of ``inference.runs.program_spec.NOISES``.
        label: What it is called in a legend.
        color: Its colour.
        marker: Its marker.
        strength: The setting of a run that sets its strength; None for a method without one.
        unit: What the strength is, in words.
        short: The same before a number in a table.
    """

    name: str
    label: str
    color: str
    marker: str
    strength: str | None = None
    unit: str = ""
    short: str = ""

    @property
    def style(self) -> dict[str, Any]:
        """Options of Matplotlib's lines."""
        return {"color": self.color, "marker": self.marker, "label": self.label}


METHODS = {
    method.name: method
    for method in (
        Method(
            name="information",
            label="information dropout",
            color=BLUE,
            marker="o",
            strength="beta_paper",
            unit="β × N",
            short="β × N = ",
        ),
        Method(
            name="binary",
            label="binary dropout",
            color=VERMILION,
            marker="s",
            strength="drop_prob",
            unit="drop probability",
            short="drop ",
        ),
        Method(
            name="constant",
            label="constant log-normal noise",
            color=ORANGE,
            marker="^",
            strength="alpha",
            unit="scale",
            short="scale ",
        ),
        Method(name="none", label="no noise", color="#555555", marker="D"),
    )
}


def trials_of(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the fits that choose."""
    return rows[rows["stage"] == "choice"] if "stage" in rows else rows.iloc[:0]


def has_chosen(rows: pd.DataFrame, candidates: Mapping[str, Sequence[float]], repeats: int = 1) -> bool:
    """Whether the rows hold every trial of every candidate.

    Args:
        rows: A figure's rows.
        candidates: What each method may choose from.
        repeats: Trials of a candidate.
    """
    return len(trials_of(rows)) >= repeats * sum(len(values) for values in candidates.values())


def chosen_options(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """What each method chose, as an option of a run."""
    return {name: {str(METHODS[name].strength): value} for name, value in chosen_settings(rows).items()}


def chosen_settings(rows: pd.DataFrame) -> dict[str, float]:
    """The strength that each method chose: the one with the smallest mean held-out error with the noise off.

    The mean is over its trials: their seeds, and their sizes where there are several.

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
            means = tried.groupby("setting", sort=False)["validation_error_deterministic"].mean()
            chosen[name] = float(means.idxmin())
    return chosen
