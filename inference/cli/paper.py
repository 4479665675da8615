"""``python -m inference paper``: the paper's figures and its table, at several sizes."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from inference.cli.arguments import Parser
from inference.studies.paper.names import FIGURES

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "run and draw the paper's figures and its table, resumably, and write the page of results"


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_needed("what", help=f"{', '.join(FIGURES)}, all, samples, draw or results")
    parser.add_argument(
        "--preset",
        type=str,
        default="small",
        help="smoke, small, paper, or code: paper with the optimiser of the authors' code",
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        help="folder with the data (default: the environment's IB_PYRO_DATA; smoke goes without)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/paper"), help="folder of the figures and their runs"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each in a process of its own")
    parser.add_argument(
        "--numbers",
        type=Path,
        default=Path("inference/figures"),
        help="folder of the CSVs that `results` and `draw` read",
    )


def run(options: Namespace) -> int:
    """Run a figure or all of them, draw, or write the page."""
    from inference.studies.paper.command import run_paper

    run_paper(
        options.what,
        preset=options.preset,
        data_root=options.data_root,
        out=options.out,
        jobs=options.jobs,
        numbers=options.numbers,
    )
    return 0
