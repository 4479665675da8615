"""How far the runs of a figure have come, and how long the others will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.console import Console

from inference.paper.run import PaperRun, Place
from inference.run_folder import RunFolder

__all__ = ["RunClock"]


class RunClock:
    """Says how many runs are done and how long the others will take, at the pace so far.

    Args:
        name: What the runs are for.
        waiting: Runs that are to be done.
        done: Number of runs that were done before.
        place: Where their folders are: what they note of each epoch counts as progress.
        console: Where to report.
        now: A clock in seconds.
    """

    def __init__(
        self,
        name: str,
        waiting: Sequence[PaperRun],
        done: int,
        place: Place,
        console: Console,
        *,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._name, self._place, self._console, self._now = name, place, console, now
        self._total = done + len(waiting)
        self._runs = {run.name: run for run in waiting}
        self._finished_work = 0.0
        # What an interrupted run had done is not done at this run's pace.
        self._earlier = {run.name: self._fraction(run) for run in waiting}
        self._start = now()
        if self._total > 1 or done:
            self._say(f"{done} of {self._total} runs were done before")

    def finished(self, run: PaperRun) -> None:
        """Report after a run."""
        del self._runs[run.name]
        self._finished_work += _work(run) * (1 - self._earlier[run.name])
        self._say(f"{self._count()} runs done{self._left()} ({run.name})")

    def going_on(self) -> None:
        """Report between the ends of runs: the epochs of those that have begun."""
        begun = [(run, self._epochs(run)) for run in self._runs.values() if self._begun(run)]
        if begun:
            epochs = ", ".join(f"epoch {done} of {run.epochs} ({run.name})" for run, done in begun)
            self._say(f"{self._count()} runs done{self._left()}: {epochs}")

    def _count(self) -> str:
        return f"{self._total - len(self._runs)} of {self._total}"

    def _left(self) -> str:
        left = sum(_work(run) * (1 - self._fraction(run)) for run in self._runs.values())
        work = self._finished_work
        work += sum(
            _work(run) * max(0.0, self._fraction(run) - self._earlier[run.name])
            for run in self._runs.values()
        )
        if not self._runs or work == 0:
            return ""
        return f", about {(self._now() - self._start) * left / work / 60:.1f} minutes left"

    def _begun(self, run: PaperRun) -> bool:
        folder = RunFolder(self._place.folder(run))
        return folder.result() is None and self._epochs(run) > 0

    def _epochs(self, run: PaperRun) -> int:
        metrics = RunFolder(self._place.folder(run)).metrics_file
        return len(metrics.read_text(encoding="utf-8").splitlines()) - 1 if metrics.exists() else 0

    def _fraction(self, run: PaperRun) -> float:
        return min(1.0, self._epochs(run) / run.epochs)

    def _say(self, text: str) -> None:
        self._console.print(f"{self._name}: {text}", highlight=False, soft_wrap=True)


def _work(run: PaperRun) -> float:
    """Cost of a run, up to a factor: a fixed part of a step, and one that grows with the network."""
    layer = {"mlp": 1 + run.size / 64, "vae": 1 + run.size}.get(run.model, 0.15 + run.size**1.7)
    return run.epochs * (run.train_images or 50_000) * layer
