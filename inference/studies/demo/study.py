"""What a study of the demo is: fits that other processes do, rows that are kept of each, tables and figures."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import rich.progress
from rich.console import Console, RenderableType

from inference.runs.pool import in_turn

__all__ = ["Study", "Work", "run_studies"]


@dataclass(frozen=True)
class Work:
    """A share of a study that one process does.

    Args:
        study: Name of the study.
        call: A function of a module, so that it travels to another process.
        argument: What it is called with.
        fits: Number of fits in it.
    """

    study: str
    call: Callable[[Any], Any]
    argument: Any
    fits: int = 1


class Study(ABC):
    """A question with its fits.

    Attributes:
        name: What the lines of progress call it.
    """

    name: ClassVar[str]

    @abstractmethod
    def waiting(self) -> list[Work]:
        """What is not done yet.

        Raises:
            ValueError: If the folder holds the results of other settings.
        """

    @abstractmethod
    def keep(self, found: Any) -> list[str]:  # noqa: ANN401 - what `call` returned
        """Write what came of a share, and return a line for each fit: what was fitted, and its held-out error."""

    @abstractmethod
    def finish(self) -> None:
        """Write the tables and figures of all fits."""

    @abstractmethod
    def table(self) -> RenderableType:
        """What is printed of a finished study."""


def run_studies(studies: Sequence[Study], *, processes: int, console: Console) -> None:
    """Do the fits of several studies, then write their tables and figures.

    A terminal shows a bar; elsewhere, as in a pipe or a file, a line is printed for each fit.

    Args:
        studies: The studies, the one of the longest shares first.
        processes: Shares at a time.
        console: Where to print.

    Raises:
        ValueError: If a study's folder holds the results of other settings; nothing is fitted then.
    """
    by_name = {study.name: study for study in studies}
    shares = [share for study in studies for share in study.waiting()]
    with _Progress(sum(share.fits for share in shares), console) as progress:
        for share, found in in_turn(_do, shares, processes=processes):
            for line in by_name[share.study].keep(found):
                progress.fit(f"{share.study}: {line}")
    for study in studies:
        study.finish()


def _do(share: Work) -> Any:  # noqa: ANN401
    return share.call(share.argument)


class _Progress:
    """A bar on a terminal, lines elsewhere."""

    def __init__(self, fits: int, console: Console) -> None:
        self._fits, self._done, self._console = fits, 0, console
        self._start = time.perf_counter()
        columns = rich.progress.Progress.get_default_columns()
        live = console.is_terminal
        self._bar = rich.progress.Progress(*columns, console=console, transient=True, disable=not live)
        self._task = self._bar.add_task(f"{fits} fits", total=fits)

    def __enter__(self) -> _Progress:
        self._bar.start()
        if not self._console.is_terminal and self._fits:
            self._print(f"{self._fits} fits; the first are done in some seconds")
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def fit(self, line: str) -> None:
        """Count a finished fit."""
        self._done += 1
        self._bar.advance(self._task)
        if not self._console.is_terminal:
            seconds = time.perf_counter() - self._start
            self._print(f"{seconds:4.0f} s  {self._done}/{self._fits}  {line}")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)
