"""``python -m inference demo``: what information dropout is for, and what it is not, in a minute and a half."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from inference.cli.arguments import Parser

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = (
    "wrong labels, unseen digits and clean ones: dropout and its rivals, in tables and figures, in 90 seconds"
)


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_needed(
        "--out", type=Path, required=True, help="folder of the demo; finished fits in it are kept"
    )
    parser.add_argument(
        "--seeds", type=int, default=5, help="fits of each setting; with right labels at most 3"
    )
    parser.add_argument(
        "--epochs", type=int, default=30, help="length of each fit; half of it for unseen digits"
    )
    parser.add_argument("--processes", type=int, default=2, help="fits at a time, in a process each")


def run(options: Namespace) -> int:
    """Fit, and print the tables."""
    for name in ("seeds", "epochs", "processes"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} must be at least 1; got {getattr(options, name)}")
    from inference.studies.demo import run_demo

    failed = run_demo(options.out, seeds=options.seeds, epochs=options.epochs, processes=options.processes)
    for line in failed:
        print(f"failed: {line}; the same command tries it again", file=sys.stderr)
    return 1 if failed else 0
