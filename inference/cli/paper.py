"""``python -m inference paper``: the paper's figures and its table, at several sizes."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ib_pyro.choices import require_known
from inference.cli.arguments import Parser
from inference.studies.paper.figures import FIGURES, figures_of

if TYPE_CHECKING:
    from inference.studies.paper.place import Place

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
        "--collect",
        action="store_true",
        help="run nothing: write the numbers of the runs that are done, and draw them",
    )
    parser.add_argument(
        "--numbers",
        type=Path,
        default=Path("inference/figures"),
        help="folder of the CSVs that `results` and `draw` read",
    )


def run(options: Namespace) -> int:
    """Run a figure or all of them, draw them again from their CSVs, draw samples, or write the page of results."""
    from inference.studies.paper.plan import PRESETS

    require_known("figure", options.what, [*FIGURES, "all", "samples", "draw", "results"])
    require_known("preset", options.preset, PRESETS)
    if options.jobs < 1:
        raise ValueError(f"--jobs must be at least 1; got {options.jobs}")
    if options.what == "results":
        from inference.studies.paper.page import write_results

        _say(f"written: {write_results(options.numbers)}")
    elif options.what == "draw":
        _draw(options.numbers)
    elif options.what == "samples":
        from inference.studies.paper.samples import draw_samples

        for path in draw_samples(_place(options), options.out):
            _say(f"drawn: {path}")
    else:
        _run_figures(options)
    return 0


def _draw(numbers: Path) -> None:
    from inference.studies.paper.runner import draw_figure, with_numbers

    for name in with_numbers(numbers):
        draw_figure(name, numbers / f"{name}.csv", numbers, suffixes=("png",))
        _say(f"drawn: {numbers / name}.png")


def _run_figures(options: Namespace) -> None:
    from rich.console import Console

    from inference.studies.paper.runner import run_figure

    place, console = _place(options), Console(stderr=True)
    names = figures_of(options.preset) if options.what == "all" else [options.what]
    start = time.perf_counter()
    for done, name in enumerate(names, start=1):
        run_figure(name, options.preset, place, jobs=options.jobs, collect=options.collect, console=console)
        if len(names) > 1:
            minutes = (time.perf_counter() - start) / 60
            _say(f"{done} of {len(names)} figures done, in {minutes:.1f} minutes")


def _place(options: Namespace) -> Place:
    """Where the images are and the figures go.

    Raises:
        ValueError: If a preset that needs real images has none.
    """
    from ib_pyro.data.request import data_root
    from inference.studies.paper.place import Place

    root = data_root(options.data_root)
    if root is None and options.preset != "smoke":
        raise ValueError(
            f"--preset {options.preset} needs the real images: pass --data-root DIR or set IB_PYRO_DATA; only smoke "
            "makes do with stand-ins"
        )
    return Place(options.out, root)


def _say(text: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(text, highlight=False, soft_wrap=True)
