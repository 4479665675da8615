"""Runs of one network that are trained at once, each with the numbers that it has alone."""

from ib_pyro.side_by_side.building import build_programs
from ib_pyro.side_by_side.curve_over_seeds import curve
from ib_pyro.side_by_side.measuring import evaluate_side_by_side
from ib_pyro.side_by_side.refusal import VectorizationError
from ib_pyro.side_by_side.run_optimizers import OptimizerSettings
from ib_pyro.side_by_side.runs import Run, SideBySide
from ib_pyro.side_by_side.steps import SideBySideTraining
from ib_pyro.side_by_side.streams import Streams
from ib_pyro.side_by_side.sweeping import sweep
from ib_pyro.side_by_side.train import train_side_by_side

__all__ = [
    "OptimizerSettings",
    "Run",
    "SideBySide",
    "SideBySideTraining",
    "Streams",
    "VectorizationError",
    "build_programs",
    "curve",
    "evaluate_side_by_side",
    "sweep",
    "train_side_by_side",
]
