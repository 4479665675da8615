"""What does several pieces of work at a time, and how it says that a worker is no more."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

__all__ = ["Engine", "InThisProcess", "WorkerLost"]

Item = TypeVar("Item")
Found = TypeVar("Found")


class WorkerLost(RuntimeError):
    """A worker ended, or its machine did, before its work was done: nothing that the work itself raised."""


class Engine(Protocol):
    """Where pieces of work are done; open inside of its ``with`` block, and at its end nothing of it is left running.

    Attributes:
        slots: How many pieces of work are handed over at a time; infinite for an engine that queues them itself.
    """

    slots: float

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def submit(self, work: Callable[[Item], Found], item: Item) -> Future[Any]:
        """Hand over a piece of work."""

    def result(self, future: Future[Any]) -> Any:  # noqa: ANN401 - what the work returned
        """What came of it, once it is done.

        Raises:
            WorkerLost: If its worker ended before it was done.
            Exception: What the work raised.
        """


class InThisProcess:
    """One piece of work after the other, right here.

    Args:
        threads: CPU threads of each; None for as many as there are.
    """

    slots = 1.0

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def submit(self, work: Callable[[Item], Found], item: Item) -> Future[Found]:
        """Do it."""
        import torch

        future: Future[Found] = Future()
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads or before)
        try:
            future.set_result(work(item))
        except Exception as error:
            future.set_exception(error)
        finally:
            torch.set_num_threads(before)
        return future

    def result(self, future: Future[Found]) -> Found:
        """What came of it."""
        return future.result()
