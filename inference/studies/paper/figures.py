"""The figures by their names; a new one is a file such as ``fig<number>.py`` with a ``FIGURE``, and nothing else."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ib_pyro.choices import require_known

if TYPE_CHECKING:
    from inference.studies.paper.figure import Figure

__all__ = ["FIGURES", "figure", "figures_of"]

_NAME = re.compile(r"(fig|panel|table)\d+[a-z]?")

FIGURES = sorted(
    info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)]) if _NAME.fullmatch(info.name)
)
"""Names of the figures, in their order: those of their files, none of which is imported for it."""


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
