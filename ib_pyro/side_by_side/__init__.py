"""Runs of one network that are trained at once, each with the numbers that it has alone."""

from ib_pyro.side_by_side.measuring import evaluate_side_by_side
from ib_pyro.side_by_side.optimizers import OptimizerSettings
from ib_pyro.side_by_side.refusal import VectorizationError
from ib_pyro.side_by_side.runs import Run, SideBySide, curve
from ib_pyro.side_by_side.streams import Streams
from ib_pyro.side_by_side.train import build_programs, train_side_by_side
from ib_pyro.side_by_side.training import SideBySideTraining

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
    "train_side_by_side",
]
