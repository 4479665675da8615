"""The figures by their names; a new one is a file with a `FIGURE`, and nothing else."""

from __future__ import annotations

from importlib import import_module

from inference.names import require_known
from inference.studies.paper.figure import Figure
from inference.studies.paper.names import FIGURES

__all__ = ["figure", "figures_of"]


def figure(name: str) -> Figure:
    """The figure of a name.

    Raises:
        ValueError: If the name is unknown.
    """
    require_known("figure", name, FIGURES)
    found: Figure = import_module(f"inference.studies.paper.{name}").FIGURE
    return found


def figures_of(preset: str) -> list[str]:
    """Names of the figures that have a preset, in their order."""
    return [name for name in FIGURES if preset in figure(name).sizes]
