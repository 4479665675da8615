"""Attacks on what is promised: processes killed, files broken, programs wrong, numbers at the ends of their ranges.

``python -m inference.studies.attack`` makes as many as its minutes allow, and prints the seed of each that finds
something.
"""

from inference.studies.attack.attempts import Kind, Silent, attack
from inference.studies.attack.kinds import KINDS

__all__ = ["KINDS", "Kind", "Silent", "attack"]
