"""``python -m inference evaluate``: recompute a run's result from its checkpoint."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from inference.cli.arguments import Parser

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "recompute result.json of a run from its checkpoint"


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_needed("folder", metavar="run", type=Path, help="folder of the run, whoever made it")
    parser.add_argument("--data-root", type=Path, help="where the data are, if no longer there")


def run(options: Namespace) -> int:
    """Evaluate, and print the result."""
    from inference.runs.result_tables import print_result
    from inference.runs.run import evaluate_run

    print_result(evaluate_run(options.folder, data_root=options.data_root), options.folder)
    return 0
