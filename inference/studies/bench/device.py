"""Where a benchmark computes, and which clock counts there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

__all__ = ["Device", "on"]


@dataclass(frozen=True)
class Device:
    """A device with a number of threads.

    Args:
        name: ``"cpu"`` or ``"cuda"``.
        threads: Threads that PyTorch computes with.
    """

    name: str = "cpu"
    threads: int = 1

    @property
    def clock(self) -> str:
        """Processor time for one thread of a CPU, which nothing else adds to; the clock's where more compute."""
        return "processor" if self.name == "cpu" and self.threads == 1 else "wall"

    def wait(self) -> None:
        """Return when what has been started is done."""
        if self.name == "cuda":
            torch.cuda.synchronize()


@contextmanager
def on(device: Device) -> Iterator[Device]:
    """Compute with a device's number of threads, and then with as many as before."""
    if device.name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: PyTorch finds no GPU here; leave it out to measure on the CPU")
    before = torch.get_num_threads()
    torch.set_num_threads(device.threads)
    try:
        yield device
    finally:
        torch.set_num_threads(before)
