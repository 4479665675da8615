"""``python -m inference evaluate``: recompute a run's result from its checkpoint."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "recompute result.json of a run from its checkpoint"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument(
        "--data-root", type=Path | None, default=None, help="where the data are, if no longer there"
    )


def run(options: Namespace) -> int:
    """Evaluate, and print the result."""
    from inference.experiment import evaluate_run
    from inference.tables import print_result

    print_result(evaluate_run(options.run, data_root=options.data_root), options.run)
    return 0
