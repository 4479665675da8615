"""Programs that fit and question Pyro programs: fit, evaluate and demo, behind ``python -m inference``."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.config import FitConfig
    from inference.evaluation import Evaluation, evaluate
    from inference.experiment import evaluate_run, run
    from inference.fitting import FitResult, fit

__all__ = ["Evaluation", "FitConfig", "FitResult", "evaluate", "evaluate_run", "fit", "run"]

# Imported on first use: the command line answers --help without torch and lightning.
_HOMES = {
    "Evaluation": "inference.evaluation",
    "FitConfig": "inference.config",
    "FitResult": "inference.fitting",
    "evaluate": "inference.evaluation",
    "evaluate_run": "inference.experiment",
    "fit": "inference.fitting",
    "run": "inference.experiment",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
