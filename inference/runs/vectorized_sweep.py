"""Runs of one network that are fitted as one computation, each kept in its folder as if it had been fitted alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from ib_pyro.side_by_side import VectorizationError
from ib_pyro.training.checkpoint import load_checkpoint
from inference.runs.failure import read_failure
from inference.runs.folder import RunFolder
from inference.runs.pool import Job, Outcome
from inference.runs.run import evaluate_run
from inference.runs.runs_at_once import RunsAtOnce
from inference.runs.settings import flag
from inference.runs.spec import RunSpec

__all__ = ["VARIES", "are_alike", "run_side_by_side"]

VARIES = (
    "alpha",
    "alpha_max",
    "beta",
    "beta_paper",
    "capacity",
    "drop_prob",
    "free_nats",
    "gamma",
    "lr",
    "seed",
)
"""Settings in which runs side by side may differ: numbers that are tensors there."""
_PRECISIONS = ("32-true", "64-true")
# Hidden: a folder with nothing but such files is empty to a run.
_STATE = ".side-by-side-{}.pt"


def run_side_by_side(
    jobs: Sequence[Job],
    *,
    progress: bool = True,
    retry_failed: bool = False,
    cache: Path | None = None,
    until: float = math.inf,
    threads: int | None = None,
    compile: bool = False,
) -> Iterator[tuple[Path, Outcome]]:
    """Fit everything that is not done yet, all at once, and evaluate and keep each run as ``inference.runs.run`` does.

    The runs' common state is kept beside their folders while they go on: the same runs, started again after a stop, go
    on from there, with the numbers that they would have had. Runs that were begun alone start again.

    Args:
        jobs: Runs, each with a folder of its own; they differ in ``VARIES``.
        progress: Whether to show a progress bar.
        retry_failed: Whether runs that failed before are tried again; they are left as they are otherwise.
        cache: See ``inference.runs.run.run``.
        until: When to stop, all of them at one epoch, in the seconds of ``time.time``; the last epochs are not begun
            then, and runs that are fitted are still evaluated.
        threads: See ``inference.runs.run.run``.
        compile: Whether to compile their steps, which takes a few seconds to a minute, and a compiler for C++; the
            numbers are the same to rounding.

    Yields:
        A folder and what its ``result.json`` holds, or why there is none, as of a run whose loss was not finite.

    Raises:
        ValueError: If a folder holds another run, or the runs cannot be fitted side by side; nothing is written then.
        OutOfTime: If they have stopped because of ``until``.
    """
    waiting: list[Job] = []
    fitted: list[Path] = []
    for spec, out in jobs:
        folder = RunFolder(out)
        folder.check(spec, resume=True)
        before = folder.result() or (None if retry_failed else read_failure(out))
        if before is not None:
            yield out, before
        elif _is_fitted(folder, spec):
            fitted.append(out)
        else:
            waiting.append((spec, out))
    for out in fitted:
        yield out, evaluate_run(out)
    if waiting:
        _require_alike([spec for spec, _ in waiting])
        state = _state_of(waiting)
        at_once = RunsAtOnce(waiting, state, cache=cache, threads=threads, compile=compile)
        with ExitStack() as all_of_them:
            for _, out in waiting:
                all_of_them.enter_context(RunFolder(out).held())
            yield from at_once.run(progress=progress, until=until)
        state.unlink(missing_ok=True)
    for parent in {out.parent for _, out in jobs}:
        _tidy(parent)


def _is_fitted(folder: RunFolder, spec: RunSpec) -> bool:
    """Whether a run has taken its last step, and is still to be evaluated."""
    if not folder.checkpoint_file.exists():
        return False
    return len(load_checkpoint(folder.checkpoint_file)["history"]) == spec.training.epochs


def _state_of(jobs: Sequence[Job]) -> Path:
    """Return the file of the common state of runs, whose names say all of their settings."""
    names = sorted(spec.name for spec, _ in jobs)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
    return jobs[0][1].parent / _STATE.format(digest)


def _tidy(parent: Path) -> None:
    """Take away the states of other sets of runs, as a grid that was changed leaves one, once no run is under way."""
    if all(_is_over(RunFolder(config.parent)) for config in parent.glob("*/config.json")):
        for state in parent.glob(_STATE.format("*")):
            state.unlink(missing_ok=True)


def _is_over(folder: RunFolder) -> bool:
    try:
        return folder.result_file.exists() or read_failure(folder.path) is not None
    except ValueError:
        return False  # what is said of it is of something else


def are_alike(one: RunSpec, other: RunSpec) -> bool:
    """Whether two runs differ in nothing but what runs side by side may differ in."""
    return _difference(one, other) is None


def _difference(one: RunSpec, other: RunSpec) -> str | None:
    """Return the first setting that keeps two runs apart."""
    mine, theirs = one.settings(), other.settings()
    return next((name for name in mine if name not in VARIES and mine[name] != theirs[name]), None)


def _require_alike(specs: Sequence[RunSpec]) -> None:
    """Raise unless runs may be fitted side by side, as far as their settings say; names the setting."""
    first = specs[0]
    for spec in specs[1:]:
        name = _difference(first, spec)
        if name is not None:
            raise VectorizationError(
                f"{flag(name)} is {first.settings()[name]} in one run and {spec.settings()[name]} in another; runs "
                f"side by side differ in {', '.join(map(flag, VARIES))} alone: leave --vectorize out"
            )
    training = first.training
    if training.precision not in _PRECISIONS:
        raise VectorizationError(
            f"--precision {training.precision} has no runs side by side; use {' or '.join(_PRECISIONS)}, or leave "
            "--vectorize out"
        )
    if training.is_spread:
        raise VectorizationError(
            "--devices, --num-nodes and --strategy go with single runs; leave --vectorize out"
        )
    for name in ("drop_last", "tensorboard"):
        if getattr(training, name):
            raise VectorizationError(f"{flag(name)} goes with single runs; leave it or --vectorize out")
