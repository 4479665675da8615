"""What an import costs, in fresh processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from inference.studies.bench.taking_turns import Quartiles, Times, quartiles

__all__ = ["PACKAGES", "StartUp", "start_up"]

PACKAGES = ("ib_pyro", "pyro")
PROGRAM = """
import json, time
processor, wall = time.process_time(), time.perf_counter()
import {package}
print(json.dumps([time.process_time() - processor, time.perf_counter() - wall]))
"""


@dataclass(frozen=True)
class StartUp:
    """Times of imports, in seconds.

    Args:
        times: Times of each package, a fresh process each, in turn.
    """

    times: Mapping[str, tuple[Times, ...]]

    def seconds(self, package: str, clock: str = "processor") -> Quartiles:
        """Return the median time of a package's import, with its quartiles."""
        return quartiles([getattr(each, clock) for each in self.times[package]])

    def over(self, package: str, other: str, clock: str = "processor") -> Quartiles:
        """Return the median of the differences of neighbours, with its quartiles."""
        pairs = zip(self.times[package], self.times[other], strict=True)
        return quartiles([getattr(a, clock) - getattr(b, clock) for a, b in pairs])


def start_up(processes: int) -> StartUp:
    """Import each package in so many fresh processes, in turn, after one of each that is not counted."""
    for package in PACKAGES:
        _import(package)
    rounds = [[_import(package) for package in PACKAGES] for _ in range(processes)]
    return StartUp({package: tuple(times) for package, *times in zip(PACKAGES, *rounds, strict=True)})


def _import(package: str) -> Times:
    words = [sys.executable, "-c", PROGRAM.format(package=package)]
    return Times(*json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout))
