"""Attempts of one kind: as many as time allows, each drawn by a seed of its own."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Found", "Kind", "Silent", "attack"]


class Silent(AssertionError):
    """Something was wrong, and nothing said so."""


@dataclass(frozen=True)
class Kind:
    """A way to attack.

    Args:
        name: Its name.
        what: What it does, and what must come of it.
        prepare: Makes in a folder what every attempt begins with.
        attempt: Attacks once: with a generator, what was prepared and a folder of its own, to the outcomes and how
            often each was seen. Raises ``Silent`` if what is promised is not kept.
    """

    name: str
    what: str
    prepare: Callable[[Path], Any]
    attempt: Callable[[random.Random, Any, Path], Counter[str]]


@dataclass
class Found:
    """What came of the attempts: outcomes, each with its number, and what was silent, each with its seed."""

    seed: int
    attempts: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    silent: list[str] = field(default_factory=list)

    @property
    def told(self) -> str:
        """The outcomes and how often each was seen, in words."""
        return (
            ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(self.outcomes.items()))
            or "nothing"
        )

    def __str__(self) -> str:
        return f"{self.attempts:,} attempts of seed {self.seed}: {self.told}; {len(self.silent)} silent"


def attack(
    kind: Kind,
    folder: Path,
    *,
    seed: int = 0,
    first: int = 0,
    attempts: int | None = None,
    seconds: float = 60.0,
) -> Found:
    """Attack until time or attempts are over.

    Args:
        kind: How.
        folder: Where; an empty folder.
        seed: Of all that is drawn.
        first: Number of the first attempt: one that found something is made again by its number.
        attempts: How many; None for as many as time allows.
        seconds: How long; the attempt that has begun ends.
    """
    found = Found(seed)
    end = time.monotonic() + seconds
    (folder / "prepared").mkdir()
    prepared = kind.prepare(folder / "prepared")
    number = first
    while time.monotonic() < end and (attempts is None or found.attempts < attempts):
        place = folder / str(number)
        place.mkdir()
        try:
            found.outcomes += kind.attempt(random.Random(f"{seed}/{kind.name}/{number}"), prepared, place)
        except Silent as error:
            again = (
                f"python -m inference.studies.attack {kind.name} --seed {seed} --first {number} --attempts 1"
            )
            found.silent.append(f"{error} (again by: {again})")
        found.attempts += 1
        shutil.rmtree(place)
        number += 1
    return found
