"""All that a benchmark found, and its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from inference.json_and_csv import read_json, write_json
from inference.studies.bench.growth import Curve, Growth
from inference.studies.bench.memory import PeakMemory
from inference.studies.bench.start_up import StartUp
from inference.studies.bench.taking_turns import Comparison, Times

__all__ = ["Results"]


@dataclass
class Results:
    """What was measured, in order.

    Args:
        command: The command line.
        date: Day on which it ended.
        minutes: How long it took.
        machine: What it ran on, in words.
        comparisons: Times of ways that took turns.
        memory: Peak memory.
        growth: Costs along axes.
        start_up: Imports, if they were measured.
        not_measured: Reasons, by what was not.
    """

    command: str
    date: str = ""
    minutes: float = 0.0
    machine: dict[str, str] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    memory: list[PeakMemory] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)
    start_up: StartUp | None = None
    not_measured: dict[str, str] = field(default_factory=dict)

    def comparison(self, name: str, threads: int) -> Comparison | None:
        """Return a comparison by its name and number of threads, if it was made."""
        found = (each for each in self.comparisons if (each.name, each.threads) == (name, threads))
        return next(found, None)

    def write(self, path: Path) -> None:
        """Write a JSON file."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read what :meth:`write` wrote.

        Raises:
            ValueError: If the file is not one.
        """
        content = read_json(path)
        if not content:
            raise ValueError(f"{path} holds no results; run `python -m inference bench` first")
        start = content["start_up"]
        parts: dict[str, Any] = {
            "comparisons": [
                Comparison(**each | {"times": _times(each["times"])}) for each in content["comparisons"]
            ],
            "memory": [PeakMemory(**each) for each in content["memory"]],
            "growth": [_growth(each) for each in content["growth"]],
            "start_up": StartUp(_times(start["times"])) if start else None,
        }
        return cls(**content | parts)


def _times(found: Mapping[str, list[list[float]]]) -> dict[str, tuple[Times, ...]]:
    return {way: tuple(Times(*each) for each in blocks) for way, blocks in found.items()}


def _growth(found: Mapping[str, Any]) -> Growth:
    curves = {
        way: Curve(tuple(each["seconds"]), tuple(each["bytes"])) for way, each in found["curves"].items()
    }
    return Growth(found["axis"], tuple(found["values"]), tuple(found["work"]), curves)
