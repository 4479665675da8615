"""The methods that the figures compare: what each is called, what sets its strength, and how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["BLUE", "GREEN", "METHODS", "ORANGE", "PURPLE", "VERMILION", "Method"]

# Okabe & Ito (2008): told apart under every common colour-vision deficiency.
BLUE, ORANGE, VERMILION, GREEN, PURPLE = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7"


@dataclass(frozen=True, kw_only=True)
class Method:
    """A kind of noise.

    Args:
        name: What it is called in a run, a key of `inference.runs.program.NOISES`.
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
