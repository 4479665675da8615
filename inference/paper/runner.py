"""Run what a figure needs, resumably, with the time left, then write its numbers and draw it."""

from __future__ import annotations

import csv
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from inference.files import read_json, write_csv, write_json
from inference.names import require_known
from inference.paper.clock import RunClock
from inference.paper.run import PaperRun, Place

__all__ = [
    "FIGURES",
    "draw_figure",
    "figure_module",
    "measure_run",
    "read_rows",
    "run_figure",
    "with_numbers",
]

Row = dict[str, Any]

_SECONDS_BETWEEN_LOOKS = 30.0

# A figure is a module with TITLE, runs(preset, rows) -> runs, measure(run, result, place) -> rows and
# draw(rows) -> a Matplotlib figure. `runs` is asked again with the rows so far until it names nothing new, so that
# later runs may depend on earlier ones.
FIGURES = {
    name: f"inference.paper.{name}" for name in ("fig1", "fig2", "fig3a", "fig3b", "fig4", "fig5", "fig6")
}
FIGURES["table1"] = "inference.paper.table1"


def run_figure(
    name: str, preset: str, place: Place, *, jobs: int = 1, console: Console | None = None
) -> Path:
    """Do every run of a figure that is not done, and write ``<name>.csv``, ``.png`` and ``.pdf`` to ``place.out``.

    Args:
        name: A key of `FIGURES`.
        preset: ``"smoke"``, ``"small"`` or ``"paper"``.
        place: Where data and runs are.
        jobs: Runs at a time, each in a process of its own with one thread; 1 stays in this process.
        console: Where to report; standard error by default.

    Returns:
        The CSV file.

    Raises:
        ValueError: If a name is unknown.
    """
    module = figure_module(name)
    console = console or Console(stderr=True)
    place.out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[Row]] = {}
    while True:
        so_far = [row for run_rows in rows.values() for row in run_rows]
        new = [run for run in module.runs(preset, so_far) if run.name not in rows]
        if not new:
            break
        found = {run.name: part for run, part in _measured(name, new, place, jobs, console)}
        rows |= {run.name: found[run.name] for run in new}
    path = place.out / f"{name}.csv"
    write_csv(path, [{"preset": preset, **row} for row in so_far])
    draw_figure(name, path, place.out)
    console.print(f"{name}: written to {place.out}/{name}.{{csv,png,pdf}}", highlight=False, soft_wrap=True)
    return path


def draw_figure(name: str, numbers: Path, out: Path, *, suffixes: Sequence[str] = ("png", "pdf")) -> None:
    """Draw a figure from its CSV.

    Args:
        name: A key of `FIGURES`.
        numbers: The CSV.
        out: Folder of the pictures.
        suffixes: Formats to write.
    """
    import matplotlib.pyplot as plt

    figure = figure_module(name).draw(read_rows(numbers))
    for suffix in suffixes:
        figure.savefig(out / f"{name}.{suffix}", dpi=110)
    plt.close(figure)


def read_rows(path: Path) -> list[Row]:
    """Read a CSV; what looks like a number is one, and empty cells are left out."""
    with path.open(newline="", encoding="utf-8") as handle:
        return [
            {name: _number(text) for name, text in row.items() if text != ""}
            for row in csv.DictReader(handle)
        ]


def with_numbers(folder: Path) -> list[str]:
    """Figures whose CSV lies in a folder.

    Raises:
        ValueError: If there is none.
    """
    found = [name for name in FIGURES if (folder / f"{name}.csv").exists()]
    if not found:
        raise ValueError(
            f"{folder} has no CSV of a figure; run `python -m inference paper fig3a --out ...` first"
        )
    return found


def figure_module(name: str) -> ModuleType:
    """Import the module of a figure.

    Raises:
        ValueError: If the name is unknown.
    """
    return import_module(FIGURES[require_known("figure", name, FIGURES)])


def _measured(
    name: str, runs: Sequence[PaperRun], place: Place, jobs: int, console: Console
) -> Iterator[tuple[PaperRun, list[Row]]]:
    waiting = []
    for run in runs:
        path = _rows_file(name, run, place)
        if path.exists():
            yield run, read_json(path)["rows"]
        else:
            waiting.append(run)
    clock = RunClock(name, waiting, len(runs) - len(waiting), place, console)
    for run, rows in _in_turn(name, waiting, place, jobs, clock):
        clock.finished(run)
        yield run, rows


def _in_turn(
    name: str, runs: Sequence[PaperRun], place: Place, jobs: int, clock: RunClock
) -> Iterator[tuple[PaperRun, list[Row]]]:
    if jobs == 1 or len(runs) <= 1:
        for run in runs:
            yield run, measure_run(name, run, place, progress=True)
        return
    # Spawned, not forked: a fork of a process that has used PyTorch's threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(runs)), mp_context=context, initializer=_one_thread) as pool:
        futures = {pool.submit(measure_run, name, run, place): run for run in runs}
        waiting = set(futures)
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=_SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
                for future in done:
                    yield futures[future], future.result()
                if not done:
                    clock.going_on()
        finally:
            pool.shutdown(cancel_futures=True)


def measure_run(name: str, run: PaperRun, place: Place, *, progress: bool = False) -> list[Row]:
    """Fit a run if that is not done, and take a figure's numbers from it."""
    from inference.paper.execution import execute

    result = execute(run, place, progress=progress)
    rows = figure_module(name).measure(run, result, place)
    write_json(_rows_file(name, run, place), {"rows": rows})
    return rows


def _rows_file(name: str, run: PaperRun, place: Place) -> Path:
    return place.folder(run) / f"{name}.json"


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _number(text: str) -> Any:  # noqa: ANN401 - a cell
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"True": True, "False": False}.get(text, text)
