"""``python -m inference bench``: what ib_pyro costs beside plain PyTorch, Pyro and NumPyro."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from inference.cli.arguments import Parser
from inference.cli.called_as import called_as

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "measure steps, epochs, memory and imports beside plain PyTorch, Pyro and NumPyro"


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that it runs: the numbers mean nothing"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute")
    parser.add_argument(
        "--out", type=Path, default=None, help="folder of RESULTS.md; without it the tables are printed only"
    )
    parser.add_argument(
        "--page",
        action="store_true",
        help="write the page of --out again, with its notes, and measure nothing",
    )
    parser.add_argument("--check", action="store_true", help="end with exit code 1 if a target is not met")


def run(options: Namespace) -> int:
    """Measure, print, and write the page."""
    if options.page and options.out is None:
        raise ValueError("--page needs --out, the folder of the results")
    from inference.studies.bench import QUICK, TARGETS, WHOLE, Results, run_benchmark, verdict, write_page

    if options.page:
        results = Results.read(options.out / "results.json")
    else:
        command = " ".join([*called_as(), *sys.argv[1:]])
        results = run_benchmark(QUICK if options.quick else WHOLE, device=options.device, command=command)
    if options.out is not None:
        print(f"written: {write_page(results, options.out)}")
    return int(options.check and any(verdict(target, results) == "not met" for target in TARGETS))
