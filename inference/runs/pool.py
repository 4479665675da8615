"""Several runs at a time: each is tried, a lost one again, and one that fails leaves the others alone."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from inference.runs.engine import Engine, InThisProcess, WorkerLost
from inference.runs.failure import Failure, read_failure
from inference.runs.folder import RunFolder
from inference.runs.local_processes import LocalProcesses
from inference.runs.run_clock import RunClock
from inference.runs.spec import RunSpec

__all__ = ["ATTEMPTS", "Job", "Outcome", "attempt", "in_turn", "run_all", "run_in_turn"]

Item = TypeVar("Item")
Found = TypeVar("Found")
Job = tuple[RunSpec, Path]
Outcome = dict[str, Any] | Failure

ATTEMPTS = 4
"""How often a run is begun, or gone on with, whose worker is lost each time."""
_SECONDS_BETWEEN_LOOKS = 30.0


def run_all(
    jobs: Sequence[Job],
    *,
    processes: int = 2,
    engine: Engine | None = None,
    retry_failed: bool = False,
    console: Console | None = None,
) -> Iterator[tuple[Path, Outcome]]:
    """Run everything that is not done yet, and go on with what was begun.

    Args:
        jobs: Runs, each with a folder of its own.
        processes: How many at a time on this machine; 1 stays in this process.
        engine: Where they run, if not there.
        retry_failed: Whether runs that failed before are tried again; they are left as they are otherwise.
        console: Where a line says of each run that it is finished, and how long the others will take; by default only
            lost workers are told of, on standard error.

    Yields:
        A folder and what its ``result.json`` holds, or why there is none: those that were done or failed before come
        first, then the others in the order of finishing.

    Raises:
        ValueError: If a folder holds another run, or the settings or data of a run are not to be had.
    """
    waiting = []
    for spec, out in jobs:
        folder = RunFolder(out)
        folder.check(spec, resume=True)
        before = folder.result() or (None if retry_failed else read_failure(out))
        if before is None:
            waiting.append((spec, out))
        else:
            yield out, before
    told = Console(stderr=True) if console is None else console
    clock = RunClock("sweep", waiting, len(jobs) - len(waiting), told) if console is not None else None
    going_on = clock and clock.going_on
    options: dict[str, Any] = {"processes": processes, "engine": engine, "going_on": going_on}
    for (_, out), outcome in run_in_turn(_fit, waiting, console=told, **options):
        if clock is not None:
            clock.finished(out, failed=isinstance(outcome, Failure))
        yield out, outcome


def run_in_turn(
    work: Callable[[Job], Any], jobs: Sequence[Job], *, console: Console, **options: Any
) -> Iterator[tuple[Job, Any]]:
    """Do the same with each of several runs, and say so when one goes on with another worker.

    Args:
        work: What is done with a run and its folder.
        jobs: The runs.
        console: Where it is said.
        **options: As of ``in_turn``.

    Yields:
        A run with its folder and what came of it, a ``Failure`` where it lost every worker.
    """
    yield from in_turn(
        work,
        jobs,
        retrying=lambda job, lost, again: _say_lost(console, job, lost, again),
        given_up=_given_up,
        **options,
    )


def in_turn(
    work: Callable[[Item], Found],
    items: Sequence[Item],
    *,
    processes: int = 1,
    engine: Engine | None = None,
    going_on: Callable[[], None] | None = None,
    retrying: Callable[[Item, WorkerLost, int], None] | None = None,
    given_up: Callable[[Item, WorkerLost], Found] | None = None,
) -> Iterator[tuple[Item, Found]]:
    """Do the same with each of several items, and again with those whose workers are lost.

    Args:
        work: What is done; where there are several processes, it and the items travel to them.
        items: The items.
        processes: How many at a time on this machine, each with one thread; 1 stays in this process.
        engine: Where it is done, if not there.
        going_on: Called now and then while nothing is finished.
        retrying: Called with an item whose worker was lost, why, and the number of the attempt that follows.
        given_up: What is found of an item whose workers were lost ``ATTEMPTS`` times; by default that is raised.

    Yields:
        An item and what came of it, in the order of finishing.
    """
    if not items:
        return
    waiting = deque((item, 1) for item in items)
    running: dict[Future[Any], tuple[Item, int]] = {}
    with engine or _local(processes, len(items)) as pool:
        while waiting or running:
            while waiting and len(running) < pool.slots:
                item, attempt = waiting.popleft()
                running[pool.submit(work, item)] = (item, attempt)
            done, _ = wait(running, timeout=_SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
            if not done and going_on is not None:
                going_on()
            for future in done:
                item, attempt = running.pop(future)
                try:
                    found = pool.result(future)
                except WorkerLost as lost:
                    if attempt < ATTEMPTS:
                        if retrying is not None:
                            retrying(item, lost, attempt + 1)
                        waiting.appendleft((item, attempt + 1))
                        continue
                    if given_up is None:
                        raise
                    found = given_up(item, lost)
                yield item, found


def attempt(
    spec: RunSpec,
    out: Path,
    *,
    progress: bool = False,
    cache: Path | None = None,
    until: float = math.inf,
    threads: int | None = None,
) -> Outcome:
    """Do a run, or go on with it.

    Args:
        spec: The run.
        out: Its folder.
        progress: Whether to show a progress bar.
        cache: See ``inference.runs.run.run``.
        until: See there.
        threads: See there.

    Returns:
        Its result, or why it failed.

    Raises:
        Exception: What was raised before its fit began. What is wrong with settings, data or a folder is so with other
            runs too, and is mended by who asked for them.
    """
    from inference.runs.run import run

    before = read_failure(out)
    try:
        return run(spec, out, resume=True, progress=progress, cache=cache, until=until, threads=threads)
    except Exception:
        failure = read_failure(out)
        if failure is None or failure == before:
            raise
        return failure


def _fit(job: Job) -> Outcome:
    spec, out = job
    return attempt(spec, out)


def _local(processes: int, items: int) -> Engine:
    if processes > 1 and items > 1:
        return LocalProcesses(min(processes, items))
    # The last run of several has as many threads as the others, and so the same digits.
    return InThisProcess(threads=1 if processes > 1 else None)


def _say_lost(console: Console, job: Job, lost: WorkerLost, again: int) -> None:
    _, out = job
    begun = RunFolder(out).checkpoint_file.exists()
    what = "goes on from its last checkpoint" if begun else "begins anew"
    text = f"{out.name}: {lost}; attempt {again} of {ATTEMPTS} {what}"
    console.print(text, highlight=False, soft_wrap=True)


def _given_up(job: Job, lost: WorkerLost) -> Failure:
    _, out = job
    failure = Failure.of(WorkerLost(f"its worker was lost {ATTEMPTS} times; the last time {lost}"), out)
    if RunFolder(out).config_file.exists():
        failure.write(out)  # in a folder that no run has begun in, it would be taken for something foreign
    return failure
