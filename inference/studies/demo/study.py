"""What a study of the demo is: fits that other processes do, rows that are kept of each, tables and figures."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import rich.progress
from rich.console import Console, RenderableType

from inference.runs.failure import Failure
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

    @abstractmethod
    def markdown(self) -> list[str]:
        """Its table for a page, a line each."""


def run_studies(studies: Sequence[Study], *, processes: int, console: Console) -> list[tuple[Study, Failure]]:
    """Do the fits of several studies, then write their tables and figures.

    A share that fails leaves the others alone. Its study is not finished, since its means would lack some fits.

    A terminal shows a bar; elsewhere, as in a pipe or a file, a line is printed for each fit.

    Args:
        studies: The studies, the one of the longest shares first.
        processes: Shares at a time.
        console: Where to print.

    Returns:
        Which shares failed, and why, each with its study.

    Raises:
        ValueError: If a study's folder holds the results of other settings; nothing is fitted then.
    """
    by_name = {study.name: study for study in studies}
    shares = [share for study in studies for share in study.waiting()]
    with _Progress(sum(share.fits for share in shares), console) as progress:
        failed = []
        for share, found in in_turn(_do, shares, processes=processes, given_up=_failure):
            study = by_name[share.study]
            lines = [f"failed: {found.message}"] if isinstance(found, Failure) else study.keep(found)
            for line in lines:
                progress.fit(f"{share.study}: {line}")
            if isinstance(found, Failure):
                failed.append((study, found))
    unfinished = [study for study, _ in failed]
    for study in studies:
        if study not in unfinished:
            study.finish()
    return failed


def _do(share: Work) -> Any:  # noqa: ANN401
    try:
        return share.call(share.argument)
    except Exception as error:
        return _failure(share, error)


def _failure(share: Work, error: Exception) -> Failure:
    return Failure.of(error, Path(share.study))


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
        if self._console.is_terminal:  # else rich would end a line, in some versions
            self._bar.start()
        elif self._fits:
            self._print(f"{self._fits} fits; the first are done in some seconds")
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
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
