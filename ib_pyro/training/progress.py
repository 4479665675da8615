"""A progress bar with distortion, rate and error that costs a training step nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn

__all__ = ["FitProgress", "Ticker"]

_SECONDS_BETWEEN_LINES = 5.0
# A narrower terminal shows the numbers without a bar.
_WIDTH_WITH_BAR = 100


class Ticker:
    """Says, at a bounded frequency, that it is time to look.

    Args:
        interval: Least number of seconds between two looks.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = time.perf_counter() + interval

    def due(self) -> bool:
        """Return whether the interval has passed since the last look that was due."""
        now = time.perf_counter()
        if now < self._next:
            return False
        self._next = now + self._interval
        return True


class FitProgress:
    """Shows how far a fit has come: a live bar on a terminal; elsewhere a line an epoch, at most one in five seconds.

    Args:
        epochs: Length of the run.
        steps: Steps in an epoch.
        done: Epochs that were finished before.
        console: Where to draw; standard error by default.
        enabled: Whether to show anything.
    """

    def __init__(
        self, epochs: int, steps: int, *, done: int = 0, console: Console | None = None, enabled: bool = True
    ) -> None:
        self._epochs, self._steps, self._done = epochs, steps, done
        progress = _rich_progress()
        self._console = console or progress.Console(stderr=True)
        self._enabled = enabled
        self._live = enabled and self._console.is_terminal
        self._lines = Ticker(_SECONDS_BETWEEN_LINES)
        # Drawn by hand: rich's own thread would compete with the training step ten times a second.
        self._bar = progress.Progress(
            *_columns(self._console), console=self._console, auto_refresh=False, disable=not self._live
        )
        fields: dict[str, Any] = {"epoch": min(done + 1, epochs), "epochs": epochs, "numbers": ""}
        self._task = self._bar.add_task("", total=epochs * steps, completed=done * steps, **fields)

    def __enter__(self) -> FitProgress:
        if self._live:  # else rich would end a line, in some versions
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._bar.stop()

    def step(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        """Show the running means within an epoch.

        Args:
            epoch: Number of finished epochs.
            step: Number of finished steps of the current one.
            metrics: Means so far, as in a row of ``metrics.csv``.
        """
        if self._live:
            self._bar.update(
                self._task,
                completed=epoch * self._steps + step,
                epoch=min(epoch + 1, self._epochs),
                numbers=_numbers(metrics),
            )
            self._bar.refresh()

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Show a finished epoch; ``epoch`` counts from 1."""
        self.step(epoch, 0, metrics)
        is_due = self._lines.due() or epoch in (self._done + 1, self._epochs)
        if self._enabled and not self._live and is_due:
            left = (self._epochs - epoch) * metrics["seconds"]
            self._console.print(
                f"epoch {epoch}/{self._epochs}  {_numbers(metrics)}  about {left:.0f} s left",
                highlight=False,
                soft_wrap=True,
            )


def _rich_progress() -> ModuleType:
    """Import rich, which draws from Python's generator at its import, and leave the generator as it is."""
    state = random.getstate()
    try:
        from rich import progress
    finally:
        random.setstate(state)
    return progress


def _columns(console: Console) -> list[ProgressColumn]:
    progress = _rich_progress()
    numbers = progress.TextColumn("{task.fields[epoch]}/{task.fields[epochs]}  {task.fields[numbers]}")
    bar = [progress.BarColumn(bar_width=None)] if console.width >= _WIDTH_WITH_BAR else []
    return [numbers, *bar, progress.TimeRemainingColumn(), progress.TextColumn("left")]


def _numbers(metrics: Mapping[str, float]) -> str:
    parts = [f"{name} {metrics[name]:.3g}" for name in ("distortion", "rate") if name in metrics]
    text = f"{' '.join(parts)} nats"
    if "train_error" in metrics:
        text += f"  error {metrics['train_error']:.1%}"
    if "validation_error" in metrics:
        text += f" (held out {metrics['validation_error']:.1%})"
    return text
