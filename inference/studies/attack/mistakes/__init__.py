"""Mistakes that people make in programs, objectives, arguments and data, each drawn at random in many forms."""

from inference.studies.attack.mistakes import (
    bottlenecks,
    changes,
    data,
    laws,
    layers,
    objectives,
    plates,
    sites,
)
from inference.studies.attack.mistakes.mistake import MISTAKES, Draw, Wrong, asked

__all__ = ["MISTAKES", "Draw", "Wrong", "asked"]

# Each of them adds its own to MISTAKES.
_ALL = (bottlenecks, changes, data, layers, laws, objectives, plates, sites)
