"""Work in several processes of this machine, each with one thread."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self, TypeVar

from inference.runs.engine import WorkerLost
from inference.runs.parent_watch import end_with_parent

__all__ = ["LocalProcesses"]

Item = TypeVar("Item")
Found = TypeVar("Found")


class LocalProcesses:
    """Processes that stay for several pieces of work; they end with this one, and one that is lost is replaced.

    Each is a ``ProcessPoolExecutor`` of one worker: a larger one does not say which piece of work a lost worker had,
    and gives up those of all the others.

    Args:
        processes: How many.
    """

    def __init__(self, processes: int) -> None:
        self.slots = float(processes)
        self._context = multiprocessing.get_context("spawn")
        self._idle: list[ProcessPoolExecutor] = []
        self._busy: dict[Future[Any], ProcessPoolExecutor] = {}

    def __enter__(self) -> Self:
        # Its sending end closes when this process ends, however that may be, and that ends the workers.
        self._receiving, self._sending = self._context.Pipe(duplex=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._sending.close()  # what runs now is not waited for
        for executor in [*self._idle, *self._busy.values()]:
            executor.shutdown(cancel_futures=True)
        self._sending.close()
        self._receiving.close()

    def submit(self, work: Callable[[Item], Found], item: Item) -> Future[Found]:
        """Hand over a piece of work to a process that has none."""
        self._collect()
        while self._idle:
            executor = self._idle.pop()
            try:
                return self._start(executor, work, item)
            except BrokenExecutor:  # lost while it had nothing to do
                executor.shutdown(wait=False)
        return self._start(self._new(), work, item)

    def result(self, future: Future[Found]) -> Found:
        """What came of it.

        Raises:
            WorkerLost: If the process ended before it was done.
        """
        try:
            return future.result()
        except BrokenExecutor as error:
            raise WorkerLost("its process ended, killed or out of memory") from error

    def _start(
        self, executor: ProcessPoolExecutor, work: Callable[[Item], Found], item: Item
    ) -> Future[Found]:
        future = executor.submit(work, item)
        self._busy[future] = executor
        return future

    def _collect(self) -> None:
        for future in [future for future in self._busy if future.done()]:
            executor = self._busy.pop(future)
            if isinstance(future.exception(), BrokenExecutor):
                executor.shutdown(wait=False)
            else:
                self._idle.append(executor)

    def _new(self) -> ProcessPoolExecutor:
        # Spawned, not forked: a fork of a process that has used PyTorch's threads may hang.
        in_main = threading.current_thread() is threading.main_thread()
        return ProcessPoolExecutor(
            1, mp_context=self._context, initializer=_begin, initargs=(self._receiving, in_main)
        )


def _begin(other_end: Connection, parent_lives_on: bool) -> None:
    end_with_parent(other_end, parent_lives_on=parent_lives_on)
    import torch

    torch.set_num_threads(1)
