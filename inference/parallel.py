"""Several runs at a time, each in a process of its own with one thread."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from inference.config import FitConfig
from inference.run_folder import RunFolder

__all__ = ["run_all"]


def run_all(
    configs: Sequence[FitConfig], *, processes: int = 2
) -> Iterator[tuple[FitConfig, dict[str, Any]]]:
    """Run everything that is not done yet, and go on with what was begun.

    Args:
        configs: Runs, each with a folder of its own.
        processes: How many at a time; 1 stays in this process.

    Yields:
        A configuration and what its ``result.json`` holds, finished ones first, then in the order of finishing.

    Raises:
        ValueError: If a folder holds another run.
    """
    waiting = []
    for config in configs:
        folder = RunFolder(config.out)
        folder.check(config, resume=True)
        result = folder.result()
        if result is None:
            waiting.append(config)
        else:
            yield config, result
    if processes == 1 or len(waiting) <= 1:
        for config in waiting:
            yield config, _run(config)
        return
    yield from _in_processes(waiting, processes)


def _in_processes(configs: Sequence[FitConfig], processes: int) -> Iterator[tuple[FitConfig, dict[str, Any]]]:
    # Spawned, not forked: a fork of a process that has used PyTorch's threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(configs)), mp_context=context) as pool:
        futures = {pool.submit(_run, config): config for config in configs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _run(config: FitConfig) -> dict[str, Any]:
    from inference.experiment import run

    return run(config, resume=True, progress=False)
