"""Fitting programs, and what a fitted one does on a set."""

from ib_pyro.training.evaluation import Evaluation, evaluate
from ib_pyro.training.fit_result import FitResult
from ib_pyro.training.fitting import fit
from ib_pyro.training.intervals import Interval
from ib_pyro.training.one_device import OneDevice
from ib_pyro.training.trainer import Trainer

__all__ = ["Evaluation", "FitResult", "Interval", "OneDevice", "Trainer", "evaluate", "fit"]
