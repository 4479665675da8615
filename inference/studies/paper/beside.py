"""Fit those of a figure's runs as one computation that are of one network."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ib_pyro.side_by_side import VectorizationError
from inference.runs.failure import Failure
from inference.runs.pool import Job
from inference.runs.vectorized_sweep import are_alike, run_side_by_side
from inference.studies.paper.place import Place

__all__ = ["fit_beside", "groups_of", "run_beside"]


def groups_of(jobs: Sequence[Job], size: int) -> Iterator[list[Job]]:
    """Part runs into groups of one network each, in the order of their first runs.

    A figure's runs come seed by seed; so do these groups, as far as their size lets them.

    Args:
        jobs: The runs.
        size: How many are in a group at most.

    Yields:
        The groups.
    """
    left = list(jobs)
    while left:
        first = left[0][0]
        group = [job for job in left if are_alike(first, job[0])][:size]
        left = [job for job in left if job not in group]
        yield group


def run_beside(
    fit: Callable[[Sequence[Job]], Mapping[Path, Failure]],
    in_turn: Callable[[Sequence[Job]], Iterator[tuple[Job, Any]]],
    groups: Iterator[list[Job]],
) -> Iterator[tuple[Job, Any]]:
    """Fit each group as one computation, then do the rest of the work with its runs, one after the other.

    Args:
        fit: ``fit_beside`` of a group.
        in_turn: Does the rest, such as measuring, with runs; also what is left to fit of them.
        groups: The groups.

    Yields:
        A run with its folder and what came of it.
    """
    for group in groups:
        failed = fit(group)
        yield from ((job, failed[job[1]]) for job in group if job[1] in failed)
        yield from in_turn([job for job in group if job[1] not in failed])


def fit_beside(
    jobs: Sequence[Job],
    *,
    place: Place,
    until: float = math.inf,
    threads: int | None = None,
    compile: bool = False,
    console: Console,
) -> dict[Path, Failure]:
    """Fit the runs of a group as one computation, if they are of one network, and keep each in its folder.

    Args:
        jobs: The group.
        place: Where data and runs are.
        until: When to stop, see ``inference.studies.paper.runner.run_figure``; the runs then are left as they are.
        threads: See ``inference.runs.run.run``.
        compile: Whether to compile their steps.
        console: Where it is said why runs are fitted one by one.

    Returns:
        Why runs failed, by their folders. Others have their result, unless the group's time is over, or they
        cannot be fitted side by side.
    """
    from inference.runs.run import OutOfTime

    specs = [spec for spec, _ in jobs]
    if len(jobs) == 1 or time.time() > until:
        return {}
    how: dict[str, Any] = {"until": until, "threads": threads, "compile": compile}
    failed: dict[Path, Failure] = {}
    try:
        # Among those that failed before are only those that are to be tried again.
        for folder, found in run_side_by_side(jobs, retry_failed=True, cache=place.out, **how):
            if isinstance(found, Failure):
                failed[folder] = found
    except OutOfTime:
        pass
    except VectorizationError as error:
        text = f"{specs[0].name} and {len(jobs) - 1} more are fitted one by one: {error}"
        console.print(text, highlight=False, soft_wrap=True)
    return failed
