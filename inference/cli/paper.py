"""``python -m inference paper``: the paper's figures and its table, at several sizes."""

from __future__ import annotations

import math
import shlex
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ib_pyro.choices import require_known
from inference.cli.arguments import Parser
from inference.cli.called_as import called_as
from inference.studies.paper.figures import FIGURES, figures_of

if TYPE_CHECKING:
    from inference.studies.paper.place import Place

__all__ = ["SUMMARY", "add_arguments", "run"]

SUMMARY = "run and draw the paper's figures and its table, resumably, and write the page of results"
# Another try goes on from here: what sysexits.h calls a temporary failure.
UNFINISHED = 75


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    words = [*FIGURES, "all", "samples", "draw", "results"]
    parser.add_needed("what", known=words, help=f"{', '.join(FIGURES)}, all, samples, draw or results")
    parser.add_argument(
        "--preset",
        type=str,
        default="small",
        help="smoke, small, definitive, paper, or code: paper with the optimiser and networks of the authors' code",
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        help="folder with the data (default: the environment's IB_PYRO_DATA; smoke goes without)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/paper"), help="folder of the figures and their runs"
    )
    parser.add_argument(
        "--precision",
        type=str,
        help="precision of the arithmetic, such as bf16-mixed (default: each run's own)",
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        metavar="MINUTES",
        help=f"stop at the checkpoints after it with exit code {UNFINISHED}; the same command goes on",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="run nothing: print what the runs would cost here, measured by a few steps of each kind",
    )
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="try runs again that failed before; they are skipped otherwise",
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each in a process of its own")
    parser.add_argument(
        "--side-by-side",
        type=int,
        default=1,
        metavar="RUNS",
        help="runs of one network that are fitted as one computation, each with its own numbers, where that is "
        "possible (default: 1, each alone)",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the steps of runs side by side, which takes a minute and a compiler for C++",
    )
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
    if options.side_by_side < 1:
        raise ValueError(f"--side-by-side must be at least 1; got {options.side_by_side}")
    if options.compile and options.side_by_side == 1:
        raise ValueError(
            "--compile goes with runs side by side; pass --side-by-side as well, or leave it out"
        )
    if options.time_limit is not None and not options.time_limit > 0:
        raise ValueError(f"--time-limit must be positive; got {options.time_limit:g}")
    if options.what == "results":
        from inference.studies.paper.page import write_results

        _say(f"written: {write_results(options.numbers)}")
    elif options.what == "draw":
        _draw(options.numbers)
    elif options.what == "samples":
        from inference.studies.paper.samples import draw_samples

        for path in draw_samples(_place(options), options.out):
            _say(f"drawn: {path}")
    elif options.dry_run:
        _print_costs(options)
    else:
        return _run_figures(options)
    return 0


def _draw(numbers: Path) -> None:
    from inference.studies.paper.runner import draw_figure, with_numbers

    for name in with_numbers(numbers):
        draw_figure(name, numbers / f"{name}.csv", numbers, suffixes=("png",))
        _say(f"drawn: {numbers / name}.png")


def _run_figures(options: Namespace) -> int:
    from rich.console import Console

    from inference.studies.paper.missing import missing_runs
    from inference.studies.paper.runner import StoppedEarly, run_figure

    place, console = _place(options), Console(stderr=True)
    names = _figures(options)
    start = time.perf_counter()
    until = math.inf if options.time_limit is None else time.time() + 60 * options.time_limit
    failed: dict[str, str] = {}
    for done, name in enumerate(names, start=1):
        try:
            numbers = run_figure(
                name,
                options.preset,
                place,
                jobs=options.jobs,
                collect=options.collect,
                precision=options.precision,
                until=until,
                retry_failed=options.retry_failed,
                side_by_side=options.side_by_side,
                compile=options.compile,
                console=console,
            )
            failed |= missing_runs(numbers)
        except StoppedEarly as stopped:
            _say(f"{stopped}. {options.time_limit:g} minutes are over; to go on: {_same_command(options)}")
            return UNFINISHED
        if len(names) > 1:
            minutes = (time.perf_counter() - start) / 60
            _say(f"{done} of {len(names)} figures done, in {minutes:.1f} minutes")
    for run, why in failed.items():
        _say(f"failed: {run}: {why}")
    if failed:
        _say(f"{len(failed)} runs failed, and are missing in figures; --retry-failed tries them again")
    return 1 if failed else 0


def _print_costs(options: Namespace) -> None:
    from inference.studies.paper.cost import kinds_of, measure_steps, whole_plan
    from inference.studies.paper.figures import figure

    shown = [figure(name) for name in _figures(options)]
    plan = [each for one in shown for each in whole_plan(one, options.preset, precision=options.precision)]
    kinds = kinds_of(plan)
    _say("images are stand-ins; a fit's evaluation is not in it, nor what is done already")
    total = 0.0
    for kind in kinds:
        milliseconds = measure_steps(kind.spec)
        hours = kind.hours(milliseconds)
        total += hours
        print(f"{kind.words}: {kind.runs} runs, {milliseconds:.3g} ms an image and step, {hours:.2f} hours")
    print(f"together: {sum(kind.runs for kind in kinds)} runs, {total:.2f} hours one after the other")


def _figures(options: Namespace) -> list[str]:
    return figures_of(options.preset) if options.what == "all" else [options.what]


def _same_command(options: Namespace) -> str:
    words = [*called_as(), "paper", options.what]
    unsaid = {"jobs": 1, "side_by_side": 1}
    for name in ("preset", "data_root", "out", "jobs", "side_by_side", "precision", "time_limit"):
        value = getattr(options, name)
        if value != unsaid.get(name):
            words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    words += ["--compile"] * options.compile
    return shlex.join(words)


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
