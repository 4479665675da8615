"""Training of several runs of one network at a time."""

from ib_pyro.side_by_side.run_graph import SideBySideError
from ib_pyro.side_by_side.runs import Run, SideBySide
from ib_pyro.side_by_side.side_by_side import train_side_by_side

__all__ = ["Run", "SideBySide", "SideBySideError", "train_side_by_side"]
