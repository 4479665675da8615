"""Programs that fit and question Pyro programs: fit, evaluate and demo, behind ``python -m inference``."""

from importlib import import_module
from typing import TYPE_CHECKING

import inference.fit

if TYPE_CHECKING:
    from inference.fit.evaluation import Evaluation, evaluate
    from inference.fit.fitting import FitResult, fit
    from inference.runs.run import evaluate_run, run
    from inference.runs.spec import RunSpec

__all__ = ["Evaluation", "FitResult", "RunSpec", "evaluate", "evaluate_run", "fit", "run"]

# Imported on first use: the command line answers --help without torch and lightning.
_HOMES = {
    "Evaluation": "inference.fit.evaluation",
    "FitResult": "inference.fit.fitting",
    "RunSpec": "inference.runs.spec",
    "evaluate": "inference.fit.evaluation",
    "evaluate_run": "inference.runs.run",
    "fit": "inference.fit.fitting",
    "run": "inference.runs.run",
}

# `inference.fit` is a folder and, for who imports from here, the function: `from inference.fit.loop import ...` finds
# the one among the loaded modules, and this name is the other's.
del inference.fit  # type: ignore[attr-defined]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
