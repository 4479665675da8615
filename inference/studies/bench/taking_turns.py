"""Several ways of the same computation, timed block by block in turn, and their ratios."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Block", "Comparison", "Quartiles", "Times", "quartiles", "take_turns"]

Block = Callable[[], object]


class Quartiles(NamedTuple):
    """The median of some numbers, and the quartiles around it."""

    low: float
    median: float
    high: float


class Times(NamedTuple):
    """What a block took, in seconds a step or an epoch.

    Attributes:
        processor: Processor time, of child processes that ended within the block too.
        wall: The clock's.
    """

    processor: float
    wall: float


@dataclass(frozen=True)
class Comparison:
    """Times of ways that took turns in one process.

    Args:
        name: What is computed, such as ``"MLP, H = 64"``.
        unit: What a time is for: ``"step"`` or ``"epoch"``.
        threads: Threads that PyTorch computed with.
        clock: ``"processor"`` or ``"wall"``: which of the times ratios are made of.
        times: Times of each way, a block each; blocks of one position are neighbours.
    """

    name: str
    unit: str
    threads: int
    clock: str
    times: Mapping[str, tuple[Times, ...]]

    def seconds(self, way: str, clock: str | None = None) -> Quartiles:
        """Return the median time of a way, with its quartiles, in seconds by a clock."""
        return quartiles([getattr(each, clock or self.clock) for each in self.times[way]])

    def ratio(self, way: str, to: str, clock: str | None = None) -> Quartiles:
        """Return the median of the ratios of neighbouring blocks of two ways, with its quartiles."""
        clock = clock or self.clock
        pairs = zip(self.times[way], self.times[to], strict=True)
        return quartiles([getattr(a, clock) / getattr(b, clock) for a, b in pairs])


def quartiles(values: list[float]) -> Quartiles:
    """Return quartiles of one value or more."""
    if len(values) == 1:
        return Quartiles(values[0], values[0], values[0])
    return Quartiles(*statistics.quantiles(values, n=4, method="inclusive"))


def take_turns(
    ways: Mapping[str, Block], *, blocks: int, parts: int = 1, wait: Callable[[], object] = lambda: None
) -> dict[str, tuple[Times, ...]]:
    """Time blocks of several ways, each way's in turn, so that what else the machine does falls on all of them.

    Args:
        ways: A block of each, by name. Each is run once more before, unmeasured.
        blocks: Blocks of each.
        parts: Steps in a block, by which its times are divided.
        wait: Returns when what has been started is done, as on a GPU.

    Returns:
        Times by way, a block each.
    """
    for block in ways.values():
        block()
    found: dict[str, list[Times]] = {name: [] for name in ways}
    for _ in range(blocks):
        for name, block in ways.items():
            found[name].append(_time(block, parts, wait))
    return {name: tuple(times) for name, times in found.items()}


def _time(block: Block, parts: int, wait: Callable[[], object]) -> Times:
    wait()
    processor, wall = _processor_time(), time.perf_counter()
    block()
    wait()
    return Times((_processor_time() - processor) / parts, (time.perf_counter() - wall) / parts)


def _processor_time() -> float:
    # A loader's worker is joined when its epoch ends, and then counts.
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
