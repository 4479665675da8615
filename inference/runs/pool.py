"""Several runs at a time, each in a process of its own with one thread."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar

from inference.runs.folder import RunFolder
from inference.runs.spec import RunSpec

__all__ = ["in_turn", "run_all"]

Item = TypeVar("Item")
Found = TypeVar("Found")
Job = tuple[RunSpec, Path]

_SECONDS_BETWEEN_LOOKS = 30.0


def run_all(jobs: Sequence[Job], *, processes: int = 2) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Run everything that is not done yet, and go on with what was begun.

    Args:
        jobs: Runs, each with a folder of its own.
        processes: How many at a time; 1 stays in this process.

    Yields:
        A folder and what its ``result.json`` holds, finished ones first, then in the order of finishing.

    Raises:
        ValueError: If a folder holds another run.
    """
    waiting = []
    for spec, out in jobs:
        folder = RunFolder(out)
        folder.check(spec, resume=True)
        result = folder.result()
        if result is None:
            waiting.append((spec, out))
        else:
            yield out, result
    for (_, out), result in in_turn(_run, waiting, processes=processes):
        yield out, result


def in_turn(
    work: Callable[[Item], Found],
    items: Sequence[Item],
    *,
    processes: int,
    going_on: Callable[[], None] | None = None,
) -> Iterator[tuple[Item, Found]]:
    """Do the same with each of several items.

    Args:
        work: What is done; where there are several processes, it and the items travel to them.
        items: The items.
        processes: How many at a time, each with one thread; 1 stays in this process.
        going_on: Called now and then while nothing is finished.

    Yields:
        An item and what came of it, in the order of finishing.
    """
    if processes == 1 or len(items) <= 1:
        for item in items:
            yield item, work(item)
        return
    # Spawned, not forked: a fork of a process that has used PyTorch's threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(items)), mp_context=context, initializer=_one_thread) as pool:
        futures = {pool.submit(work, item): item for item in items}
        waiting = set(futures)
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=_SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
                for future in done:
                    yield futures[future], future.result()
                if not done and going_on is not None:
                    going_on()
        finally:
            pool.shutdown(cancel_futures=True)


def _run(job: Job) -> dict[str, Any]:
    from inference.runs.run import run

    spec, out = job
    return run(spec, out, resume=True, progress=False)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
