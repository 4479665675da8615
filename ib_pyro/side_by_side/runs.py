"""What sets runs apart that are trained side by side, and what came of them."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scipy.stats import t as student_t
from torch import nn

from ib_pyro.choices import require_known

__all__ = ["Run", "SideBySide", "curve"]

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One of several runs of a network: what it does not share with the others.

    Args:
        beta: Weight of the rate, per sample in nats: a number, or one for each site.
        gamma: Weight of the total correlation.
        seed: Seed of its weights, its noise and the order of its batches.
        lr: Learning rate; by default the training's.
        options: Arguments of ``make_program``, such as the strength of a noise.

    >>> Run(beta=0.1, seed=3, options={"drop_prob": 0.2}).name
    'beta=0.1, seed=3, drop_prob=0.2'
    """

    beta: float | Mapping[str, float] = 1.0
    gamma: float | Mapping[str, float] = 0.0
    seed: int = 0
    lr: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be within [0, 2**63); got {self.seed}")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be positive and finite; got {self.lr}")

    @property
    def settings(self) -> Row:
        """What the run has, a column each; a weight of several sites has one for each."""
        row: Row = {}
        for name, weight in (("beta", self.beta), ("gamma", self.gamma)):
            if isinstance(weight, Mapping):
                row |= {f"{name}/{site}": float(value) for site, value in weight.items()}
            elif name == "beta" or weight:
                row[name] = float(weight)
        row["seed"] = self.seed
        if self.lr is not None:
            row["lr"] = self.lr
        return {**row, **self.options}

    @property
    def name(self) -> str:
        """The run in words, for messages."""
        return ", ".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in self.settings.items()
        )


@dataclass(frozen=True)
class SideBySide:
    """What came of runs that were trained side by side.

    Attributes:
        runs: The runs.
        programs: The trained program of each, in evaluation mode.
        history: A row for each run and epoch: the run's settings, ``epoch`` from 1, means over the epoch of ``loss``,
            ``distortion``, ``rate`` and ``rate/<site>`` in nats per sample and of ``error`` as a share, and ``lr``.
        results: A row for each run: its settings, ``diverged``, and what :func:`evaluate_side_by_side` says of it on
            the held-out set, or without one the means of its last epoch.
        diverged: The runs, by name, whose loss was not finite, and since when; the others are as if these were not.
        not_replayed: Why steps were not replayed from a recording; None if they were.
    """

    runs: tuple[Run, ...]
    programs: tuple[nn.Module, ...]
    history: list[Row]
    results: list[Row]
    diverged: dict[str, str] = field(default_factory=dict)
    not_replayed: str | None = None

    def curve(self, by: str = "beta", *, confidence: float = 0.95) -> list[Row]:
        """Return the results averaged over runs that differ in nothing but their seeds; see :func:`curve`."""
        return curve(self.results, by, confidence=confidence)

    def as_csv(self) -> str:
        """Return the results as comma-separated values."""
        return _csv(self.results)


def curve(rows: Iterable[Mapping[str, Any]], by: str = "beta", *, confidence: float = 0.95) -> list[Row]:
    """Average results over seeds, with intervals, in the order of what sets the points of a curve apart.

    Args:
        rows: A row for each run.
        by: The column that sets the points apart. Runs that diverged are counted, and left out of the means.
        confidence: Level of the Student-t interval of the mean.

    Returns:
        A row for each value: ``by``, ``seeds`` (how many runs), ``diverged`` (how many more), and the mean of each
        other column of numbers, with ``<column>/low`` and ``<column>/high``, which are NaN for a single run.

    Raises:
        ValueError: If no row has the column, or the level is not in (0, 1).

    >>> rows = [{"beta": 0.1, "seed": s, "rate": r} for s, r in enumerate([1.0, 2.0, 3.0])]
    >>> [point] = curve(rows)
    >>> point["seeds"], point["rate"], round(point["rate/low"], 2)
    (3, 2.0, -0.48)
    """
    rows = list(rows)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is a level in (0, 1); got {confidence}")
    require_known("by=", by, list(dict.fromkeys(name for row in rows for name in row)))
    points = []
    for value in sorted({row[by] for row in rows if by in row}):
        here = [row for row in rows if row.get(by) == value]
        sound = [row for row in here if not row.get("diverged")]
        point: Row = {by: value, "seeds": len(sound), "diverged": len(here) - len(sound)}
        for name in dict.fromkeys(name for row in here for name in row):
            if name not in (by, "seed", "diverged"):
                point |= _interval(name, [row.get(name) for row in sound], confidence)
        points.append(point)
    return points


def _interval(name: str, values: Sequence[object], confidence: float) -> Row:
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) != len(values) or not numbers:
        return {}
    mean, half = math.fsum(numbers) / len(numbers), math.nan
    if len(numbers) > 1:
        variance = math.fsum((x - mean) ** 2 for x in numbers) / (len(numbers) - 1)
        quantile = float(student_t.ppf(0.5 + confidence / 2, len(numbers) - 1))
        half = quantile * math.sqrt(variance / len(numbers))
    return {name: mean, f"{name}/low": mean - half, f"{name}/high": mean + half}


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO(newline="")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
