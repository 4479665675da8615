"""A figure: everything that is known of one of the paper's figures, as one record in a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.figure
import pandas as pd

from ib_pyro.choices import require_known
from inference.runs.spec import RunSpec
from inference.studies.paper.plan import PRESETS, Load, Planned, Size
from inference.studies.paper.verdicts import Claim, Finding

__all__ = ["Figure"]

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure or table of the paper.

    Args:
        name: Its name, which is that of its file: ``"fig3a"``.
        title: What it shows.
        sizes: Its size at each preset that it has.
        runs: The runs that a size needs. It is asked again with the rows so far until it names nothing new, so that
            later runs may depend on earlier ones.
        measure: Takes a run, its result and a loader of its program, and gives rows of numbers.
        draw: Draws the rows of all runs.
        claims: What the paper claims of it.
        remark: What a reader of its numbers must know.
        table: Lines of a table of further numbers, from the rows of all runs.
        samples: Set of which some images are shown beside it.
    """

    name: str
    title: str
    sizes: Mapping[str, Size]
    runs: Callable[[Size, pd.DataFrame], list[Planned]]
    measure: Callable[[RunSpec, Row, Load], list[Row]]
    draw: Callable[[pd.DataFrame], matplotlib.figure.Figure]
    claims: tuple[Claim, ...]
    remark: str = ""
    table: Callable[[pd.DataFrame], list[str]] | None = None
    samples: str | None = None

    @property
    def heading(self) -> str:
        """Its name in words.

        >>> Figure(
        ...     name="fig3a", title="", sizes={}, runs=list, measure=list, draw=list, claims=()
        ... ).heading
        'Figure 3a'
        """
        for start, word in (("fig", "Figure"), ("panel", "Panel"), ("table", "Table")):
            if self.name.startswith(start):
                return f"{word} {self.name.removeprefix(start)}"
        return self.name

    def size(self, preset: str) -> Size:
        """Its size at a preset.

        Raises:
            ValueError: If the preset is unknown, or the figure has none of that name.
        """
        require_known("preset", preset, PRESETS)
        if preset not in self.sizes:
            raise ValueError(f"{self.name} has no preset {preset!r}; it has {', '.join(self.sizes)}")
        return self.sizes[preset]

    def judge(self, claim: Claim, rows: pd.DataFrame) -> Finding:
        """What its rows say of one of its claims, and how many seeds were planned."""
        preset = rows["preset"].iloc[0] if "preset" in rows else None
        planned = len(self.sizes[preset].seeds) if preset in self.sizes else 0
        return replace(claim.judge(rows), planned=planned)

    def plan(
        self, preset: str, rows: pd.DataFrame | None = None, *, precision: str | None = None
    ) -> list[Planned]:
        """The runs at a preset, as far as the rows so far tell.

        Args:
            preset: One of its presets.
            rows: Rows of the runs that are done.
            precision: Precision of the arithmetic, if not that of its runs.
        """
        planned = self.runs(self.size(preset), pd.DataFrame() if rows is None else rows)
        if precision is None:
            return planned
        return [replace(each, spec=each.spec.but(precision=precision)) for each in planned]
