"""Mistakes that people make in programs, objectives, arguments and data, each drawn at random in many forms."""

from inference.studies.attack.mistakes import (
    later_changes,
    wrong_arguments,
    wrong_laws,
    wrong_layers,
    wrong_networks,
    wrong_objectives,
    wrong_plates,
    wrong_sites,
)
from inference.studies.attack.mistakes.mistake import MISTAKES, Draw, Wrong, asked

__all__ = ["MISTAKES", "Draw", "Wrong", "asked"]

# Each of them adds its own to MISTAKES.
_ALL = (
    later_changes,
    wrong_arguments,
    wrong_laws,
    wrong_layers,
    wrong_networks,
    wrong_objectives,
    wrong_plates,
    wrong_sites,
)
