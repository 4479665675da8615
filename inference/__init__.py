"""Programs that fit and question Pyro programs: runs, studies and demo, behind ``python -m inference``."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.runs.run import evaluate_run, run
    from inference.runs.spec import RunSpec

__all__ = ["RunSpec", "evaluate_run", "run"]

# Imported on first use: the command line answers --help without torch and lightning.
_HOMES = {
    "RunSpec": "inference.runs.spec",
    "evaluate_run": "inference.runs.run",
    "run": "inference.runs.run",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
