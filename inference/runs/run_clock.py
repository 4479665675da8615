"""How far several runs have come, and how long the others will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from inference.runs.folder import RunFolder
from inference.runs.spec import RunSpec

__all__ = ["RunClock"]

Job = tuple[RunSpec, Path]


class RunClock:
    """Says how many runs are done and how long the others will take, at the pace so far.

    Args:
        name: What the runs are for.
        waiting: Runs that are to be done, with their folders: what they note of each epoch counts as progress.
        done: Number of runs that were done before.
        console: Where to report.
        now: A clock in seconds.
    """

    def __init__(
        self,
        name: str,
        waiting: Sequence[Job],
        done: int,
        console: Console,
        *,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._name, self._console, self._now = name, console, now
        self._total = done + len(waiting)
        self._failed = 0
        self._runs = {folder: spec for spec, folder in waiting}
        self._finished_work = 0.0
        # What an interrupted run had done is not done at this run's pace.
        self._earlier = {folder: self._fraction(folder) for folder in self._runs}
        self._start = now()
        if self._total > 1 or done:
            self._say(f"{done} of {self._total} runs were done before")

    def finished(self, folder: Path, *, failed: bool = False) -> None:
        """Report after the run of a folder."""
        self._failed += failed
        self._finished_work += _work(self._runs[folder]) * (1 - self._earlier[folder])
        del self._runs[folder]
        self._say(f"{self._count()} runs done{self._left()} ({folder.name}{' failed' if failed else ''})")

    def going_on(self) -> None:
        """Report between the ends of runs: the epochs of those that have begun."""
        begun = {folder: RunFolder(folder).epochs() for folder in self._runs if _begun(folder)}
        if begun:
            epochs = ", ".join(
                f"epoch {done} of {self._runs[folder].training.epochs} ({folder.name})"
                for folder, done in begun.items()
            )
            self._say(f"{self._count()} runs done{self._left()}: {epochs}")

    def _count(self) -> str:
        failed = f" ({self._failed} failed)" if self._failed else ""
        return f"{self._total - len(self._runs)} of {self._total}{failed}"

    def _left(self) -> str:
        fractions = {folder: self._fraction(folder) for folder in self._runs}
        left = sum(_work(spec) * (1 - fractions[folder]) for folder, spec in self._runs.items())
        work = self._finished_work + sum(
            _work(spec) * max(0.0, fractions[folder] - self._earlier[folder])
            for folder, spec in self._runs.items()
        )
        if not self._runs or work == 0:
            return ""
        return f", about {(self._now() - self._start) * left / work / 60:.1f} minutes left"

    def _fraction(self, folder: Path) -> float:
        return min(1.0, RunFolder(folder).epochs() / self._runs[folder].training.epochs)

    def _say(self, text: str) -> None:
        self._console.print(f"{self._name}: {text}", highlight=False, soft_wrap=True)


def _begun(folder: Path) -> bool:
    return RunFolder(folder).result() is None and RunFolder(folder).epochs() > 0


def _work(spec: RunSpec) -> float:
    """Cost of a run, up to a factor: a fixed part of a step, and one that grows with the network."""
    model, size = spec.program.model, spec.program.size
    if size is None:
        layer = 1.0
    else:
        layer = {"mlp": 1 + size / 64, "vae": 1 + size}.get(model, 0.15 + size**1.7)
    return spec.training.epochs * (spec.data.limit or 50_000) * layer
