"""Run what a figure needs, resumably, with the time left, then write its numbers and draw it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console

from inference.json_and_csv import write_csv
from inference.runs.failure import Failure, failure_kept, read_failure
from inference.runs.pool import attempt, run_in_turn
from inference.runs.run_clock import RunClock
from inference.runs.spec import RunSpec
from inference.studies.paper.beside import fit_beside, groups_of, run_beside
from inference.studies.paper.figures import FIGURES, figure
from inference.studies.paper.measured_rows import read_rows_of, require_same_images, write_rows_of
from inference.studies.paper.missing import missing_runs, note_missing, write_missing
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
    retry_failed: bool = False,
    side_by_side: int = 1,
    compile: bool = False,
    console: Console | None = None,
) -> Path:
    """Do every run of a figure that is not done, and write ``<name>.csv``, ``.png`` and ``.pdf`` to ``place.out``.

    Args:
        name: A name in ``inference.studies.paper.figures.FIGURES``.
        preset: ``"smoke"``, ``"small"``, ``"definitive"``, ``"paper"`` or ``"code"``.
        place: Where data and runs are.
        collect: Run nothing, and write the numbers of the runs that are done.
        jobs: Runs at a time, each in a process of its own with one thread; 1 stays in this process.
        precision: Precision of the arithmetic, if not that of the figure's runs.
        until: When to stop, each run at its next checkpoint, in the seconds of ``time.time``.
        retry_failed: Whether runs that failed before are tried again.
        side_by_side: How many runs of one network are fitted as one computation, in this process; 1: each alone. Each
            has the numbers that it has alone, to rounding.
        compile: Whether the steps of runs side by side are compiled.
        console: Where to report; standard error by default.

    Returns:
        The CSV file; beside it stands which runs failed and are missing in it, see ``missing_runs``.

    Raises:
        StoppedEarly: If the time was over before all runs were done.
        ValueError: If a name is unknown, ``jobs`` and ``side_by_side`` both exceed 1, or no full run of those that are
            to be collected is done.
    """
    asked = figure(name)
    if side_by_side > 1 and jobs > 1:
        raise ValueError(
            f"--side-by-side {side_by_side} fits in this process, --jobs {jobs} in others; leave one of them out"
        )
    console = console or Console(stderr=True)
    place.out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[Row]] = {}
    failures: dict[str, tuple[Failure, Row]] = {}
    seen: set[str] = set()
    work = partial(_collected, name, place=place, console=console)
    if not collect:
        options: dict[str, Any] = {"jobs": jobs, "until": until, "retry_failed": retry_failed}
        options |= {"side_by_side": side_by_side, "compile": compile}
        work = partial(_measured, name, place=place, console=console, **options)
    while True:
        so_far = [row for run_rows in rows.values() for row in run_rows]
        plan = asked.plan(preset, pd.DataFrame(so_far), precision=precision)
        new = [planned for planned in plan if planned.key not in seen]
        if not new:
            break
        seen.update(planned.key for planned in new)
        for planned, part in work(new):
            if isinstance(part, Failure):
                failures[planned.key] = part, planned.labels
                continue
            rows[planned.key] = [{**planned.labels, **row, **planned.labels} for row in part]
    if so_far and all(row.get("stage") == "choice" for row in so_far):
        failed = f"; {_named(failures)} failed" if failures else ""
        raise ValueError(
            f"{name}: of preset {preset} only fits that choose a strength are done{failed}; run it on"
        )
    if not so_far:
        raise ValueError(
            f"{name}: {_named(failures)} failed, and no run is done"
            if failures
            else f"{name}: no run of preset {preset} in {place.runs} is done yet; run it without --collect"
        )
    path = place.out / f"{name}.csv"
    write_csv(path, [{"preset": preset, **row} for row in so_far])
    write_missing(path, failures)
    if failures:
        console.print(f"{name}: without {_named(failures)}, which failed", highlight=False, soft_wrap=True)
    try:
        draw_figure(name, path, place.out)
    except Exception as error:
        if not failures:
            raise
        told = (
            f"{name}: not drawn without them ({type(error).__name__}: {error}); {path} has the other numbers"
        )
        console.print(told, highlight=False, soft_wrap=True)
        return path
    console.print(f"{name}: written to {place.out}/{name}.{{csv,png,pdf}}", highlight=False, soft_wrap=True)
    return path


def draw_figure(name: str, numbers: Path, out: Path, *, suffixes: Sequence[str] = ("png", "pdf")) -> None:
    """Draw a figure from its CSV; it says how many runs are missing in that.

    Args:
        name: Its name.
        numbers: The CSV.
        out: Folder of the pictures.
        suffixes: Formats to write.
    """
    import matplotlib.pyplot as plt

    drawn = figure(name).draw(read_rows(numbers))
    note_missing(drawn, len(missing_runs(numbers)))
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
    name: str,
    plan: Sequence[Planned],
    *,
    place: Place,
    jobs: int,
    until: float,
    retry_failed: bool,
    side_by_side: int,
    compile: bool,
    console: Console,
) -> Iterator[tuple[Planned, list[Row] | Failure]]:
    specs = [place.here(planned.spec) for planned in plan]
    folders = dict(zip([planned.key for planned in plan], place.folders(specs), strict=True))
    waiting = {}
    for planned, spec in zip(plan, specs, strict=True):
        folder = folders[planned.key]
        outcome = _outcome(name, folder)
        if outcome is None or (retry_failed and isinstance(outcome, Failure)):
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
    failed: dict[Path, Failure] = {}
    in_turn = partial(run_in_turn, work, processes=jobs, going_on=clock.going_on, console=console)
    finding = in_turn(todo)
    if side_by_side > 1:
        fit = partial(fit_beside, place=place, until=until, threads=threads, compile=compile, console=console)
        finding = run_beside(fit, in_turn, groups_of(todo, side_by_side))
    for (_, folder), found in finding:
        if isinstance(found, Failure):
            failed[folder] = found
        if found is not None:
            done += 1
            clock.finished(folder, failed=isinstance(found, Failure))
    if done < len(plan):
        raise StoppedEarly(f"{name}: {done} of {len(plan)} runs are done, the others stopped at a checkpoint")
    for planned in plan:
        folder = folders[planned.key]
        yield planned, failed.get(folder) or _outcome(name, folder) or []


def _collected(
    name: str, plan: Sequence[Planned], *, place: Place, console: Console
) -> Iterator[tuple[Planned, list[Row] | Failure]]:
    """What was measured of the runs that are done, and why others failed."""
    folders = place.folders([place.here(planned.spec) for planned in plan])
    done = sum((folder / f"{name}.json").exists() for folder in folders)
    console.print(f"{name}: {done} of {len(plan)} runs are done", highlight=False, soft_wrap=True)
    for planned, folder in zip(plan, folders, strict=True):
        outcome = _outcome(name, folder)
        if outcome is not None:
            yield planned, outcome


def _outcome(name: str, folder: Path) -> list[Row] | Failure | None:
    """A figure's numbers of a run, or why there are none; None if that is still to be seen."""
    if (folder / f"{name}.json").exists():
        return read_rows_of(name, folder)
    return read_failure(folder) or read_failure(folder, of=name)


def _named(failures: Mapping[str, tuple[Failure, Row]]) -> str:
    return ", ".join(failure.run for failure, _ in failures.values())


def measure_run(
    name: str,
    job: tuple[RunSpec, Path],
    *,
    place: Place,
    progress: bool = False,
    until: float = math.inf,
    threads: int | None = None,
) -> list[Row] | Failure | None:
    """Fit a run if that is not done, and take a figure's numbers from it.

    Args:
        name: The figure.
        job: The run and its folder.
        place: Where data and runs are.
        progress: Whether to show a progress bar.
        until: When to stop, see ``run_figure``.
        threads: See ``inference.runs.run.run``.

    Returns:
        Its rows, or why there are none; None if its time is over before.
    """
    from inference.runs.run import OutOfTime, load_run

    if time.time() > until:
        return None
    spec, folder = job
    try:
        result = attempt(spec, folder, progress=progress, cache=place.out, until=until, threads=threads)
    except OutOfTime:
        return None
    if isinstance(result, Failure):
        return result
    load = partial(load_run, folder, data_root=place.data_root, cache=place.out)
    try:
        with failure_kept(folder, of=name):
            rows = figure(name).measure(spec, result, load)
    except FloatingPointError:
        return read_failure(folder, of=name)
    write_rows_of(name, folder, rows)
    return rows
