"""``python -m inference demo``: a comparison of dropouts in a minute."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from inference.cli.arguments import Parser

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = (
    "compare dropouts on small digits: a table, a rate-distortion curve and the learned noise, in a minute"
)


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_needed(
        "--out", type=Path, required=True, help="folder of the demo; finished runs in it are kept"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each setting")
    parser.add_argument("--epochs", type=int, default=30, help="length of each run")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")


def run(options: Namespace) -> int:
    """Compare, and print the table."""
    for name in ("seeds", "epochs", "processes"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} must be at least 1; got {getattr(options, name)}")
    from inference.studies.demo import compare

    compare(options.out, seeds=options.seeds, epochs=options.epochs, processes=options.processes)
    return 0
