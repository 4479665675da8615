"""Run what a figure needs, resumably, with the time left, then write its numbers and draw it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console

from inference.json_and_csv import write_csv
from inference.runs.pool import in_turn
from inference.runs.spec import RunSpec
from inference.studies.paper.clock import RunClock
from inference.studies.paper.figures import FIGURES, figure
from inference.studies.paper.measured_rows import read_rows_of, require_same_images, write_rows_of
from inference.studies.paper.place import Place
from inference.studies.paper.plan import Planned
from inference.studies.paper.statistics import read_rows

__all__ = ["StoppedEarly", "draw_figure", "measure_run", "run_figure", "with_numbers"]

Row = dict[str, Any]


class StoppedEarly(Exception):
    """The time is over before all runs are done; the same command goes on."""


def run_figure(
    name: str,
    preset: str,
    place: Place,
    *,
    jobs: int = 1,
    collect: bool = False,
    precision: str | None = None,
    until: float = math.inf,
    console: Console | None = None,
) -> Path:
    """Do every run of a figure that is not done, and write ``<name>.csv``, ``.png`` and ``.pdf`` to ``place.out``.

    Args:
        name: A name in ``inference.studies.paper.figures.FIGURES``.
        preset: ``"smoke"``, ``"small"``, ``"paper"`` or ``"code"``.
        place: Where data and runs are.
        collect: Run nothing, and write the numbers of the runs that are done.
        jobs: Runs at a time, each in a process of its own with one thread; 1 stays in this process.
        precision: Precision of the arithmetic, if not that of the figure's runs.
        until: When to stop, each run at its next checkpoint, in the seconds of ``time.time``.
        console: Where to report; standard error by default.

    Returns:
        The CSV file.

    Raises:
        StoppedEarly: If the time was over before all runs were done.
        ValueError: If a name is unknown, or no full run of those that are to be collected is done.
    """
    asked = figure(name)
    console = console or Console(stderr=True)
    place.out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[Row]] = {}
    seen: set[str] = set()
    work = partial(_collected, name, place=place, console=console)
    if not collect:
        work = partial(_measured, name, place=place, jobs=jobs, until=until, console=console)
    while True:
        so_far = [row for run_rows in rows.values() for row in run_rows]
        plan = asked.plan(preset, pd.DataFrame(so_far), precision=precision)
        new = [planned for planned in plan if planned.key not in seen]
        if not new:
            break
        seen.update(planned.key for planned in new)
        for planned, part in work(new):
            rows[planned.key] = [{**planned.labels, **row, **planned.labels} for row in part]
    if so_far and all(row.get("stage") == "choice" for row in so_far):
        raise ValueError(f"{name}: of preset {preset} only fits that choose a strength are done; run it on")
    if not so_far:
        raise ValueError(
            f"{name}: no run of preset {preset} in {place.runs} is done yet; run it without --collect"
        )
    path = place.out / f"{name}.csv"
    write_csv(path, [{"preset": preset, **row} for row in so_far])
    draw_figure(name, path, place.out)
    console.print(f"{name}: written to {place.out}/{name}.{{csv,png,pdf}}", highlight=False, soft_wrap=True)
    return path


def draw_figure(name: str, numbers: Path, out: Path, *, suffixes: Sequence[str] = ("png", "pdf")) -> None:
    """Draw a figure from its CSV.

    Args:
        name: Its name.
        numbers: The CSV.
        out: Folder of the pictures.
        suffixes: Formats to write.
    """
    import matplotlib.pyplot as plt

    drawn = figure(name).draw(read_rows(numbers))
    for suffix in suffixes:
        drawn.savefig(out / f"{name}.{suffix}", dpi=110)
    plt.close(drawn)


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


def _measured(
    name: str, plan: Sequence[Planned], *, place: Place, jobs: int, until: float, console: Console
) -> Iterator[tuple[Planned, list[Row]]]:
    specs = [place.here(planned.spec) for planned in plan]
    folders = dict(zip([planned.key for planned in plan], place.folders(specs), strict=True))
    waiting = {}
    for planned, spec in zip(plan, specs, strict=True):
        folder = folders[planned.key]
        if not (folder / f"{name}.json").exists():
            waiting[folder] = spec
    clock = RunClock(
        name, [(spec, folder) for folder, spec in waiting.items()], len(plan) - len(waiting), console
    )
    finished = [(spec, folders[each.key]) for each, spec in zip(plan, specs, strict=True)]
    require_same_images([job for job in finished if job[1] not in waiting], console)
    alone = jobs == 1 or len(waiting) == 1
    # Sums round by it: runs of one figure differ in what they are for alone, however many are fitted at a time.
    threads = place.threads or (1 if jobs > 1 else torch.get_num_threads())
    work = partial(measure_run, name, place=place, progress=alone, until=until, threads=threads)
    todo = [(spec, folder) for folder, spec in waiting.items()]
    done = len(plan) - len(todo)
    for (_, folder), rows in in_turn(work, todo, processes=jobs, going_on=clock.going_on):
        if rows is not None:
            done += 1
            clock.finished(folder)
    if done < len(plan):
        raise StoppedEarly(f"{name}: {done} of {len(plan)} runs are done, the others stopped at a checkpoint")
    for planned in plan:
        yield planned, read_rows_of(name, folders[planned.key])


def _collected(
    name: str, plan: Sequence[Planned], *, place: Place, console: Console
) -> Iterator[tuple[Planned, list[Row]]]:
    """What was measured of the runs that are done."""
    folders = place.folders([place.here(planned.spec) for planned in plan])
    done = [(each, folder / f"{name}.json") for each, folder in zip(plan, folders, strict=True)]
    done = [(planned, path) for planned, path in done if path.exists()]
    console.print(f"{name}: {len(done)} of {len(plan)} runs are done", highlight=False, soft_wrap=True)
    for planned, path in done:
        yield planned, read_rows_of(name, path.parent)


def measure_run(
    name: str,
    job: tuple[RunSpec, Path],
    *,
    place: Place,
    progress: bool = False,
    until: float = math.inf,
    threads: int | None = None,
) -> list[Row] | None:
    """Fit a run if that is not done, and take a figure's numbers from it; None if its time is over before."""
    from inference.runs.run import OutOfTime, load_run, run

    if time.time() > until:
        return None
    spec, folder = job
    try:
        result = run(
            spec, folder, resume=True, progress=progress, cache=place.out, threads=threads, until=until
        )
    except OutOfTime:
        return None
    load = partial(load_run, folder, data_root=place.data_root, cache=place.out)
    rows = figure(name).measure(spec, result, load)
    write_rows_of(name, folder, rows)
    return rows
