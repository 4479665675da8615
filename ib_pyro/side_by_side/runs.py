"""What sets runs apart that are trained side by side, and what came of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from ib_pyro.checks import require_count
from ib_pyro.elbo.weights import check_scalar_weight
from ib_pyro.side_by_side.curve_over_seeds import curve

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

__all__ = ["Run", "SideBySide", "columns_of", "require_alike"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One of several runs of a network: what it does not share with the others.

    Args:
        beta: Weight of the rate, per sample in nats: a number, or one for each site.
        gamma: Weight of the total correlation: a number, or one for each site.
        seed: Seed of its weights, its noise and the order of its batches.
        lr: Learning rate; by default the training's.
        options: Arguments of ``make_program``, such as the strength of a noise.
        name: What messages call it; by default what it is made of.

    Raises:
        ValueError: If a weight is negative or infinite, the seed is negative, or the learning rate is not positive.

    >>> Run(beta=0.1, seed=3, options={"drop_prob": 0.2}).name
    'beta=0.1, seed=3, drop_prob=0.2'
    """

    beta: float | Mapping[str, float] = 1.0
    gamma: float | Mapping[str, float] = 0.0
    seed: int = 0
    lr: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        for name in ("beta", "gamma"):
            check_scalar_weight(getattr(self, name), name, "as a run has one")
        if require_count("seed", self.seed, least=0) >= 2**63:
            raise ValueError(f"seed must be within [0, 2**63); got {self.seed}")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be positive and finite; got {self.lr}")
        if not self.name:
            object.__setattr__(self, "name", ", ".join(f"{n}={v}" for n, v in self.settings.items()))

    @property
    def settings(self) -> dict[str, Any]:
        """What the run has, a column each; a weight of several sites has one for each."""
        row: dict[str, Any] = {}
        for name, weight in (("beta", self.beta), ("gamma", self.gamma)):
            if isinstance(weight, Mapping):
                row |= {f"{name}/{site}": float(value) for site, value in weight.items()}
            elif name == "beta" or weight:
                row[name] = float(weight)
        row["seed"] = self.seed
        if self.lr is not None:
            row["lr"] = self.lr
        return {**row, **self.options}


@dataclass(frozen=True)
class SideBySide:
    """What came of several runs.

    Attributes:
        runs: The runs.
        programs: The trained program of each by its run's name, in evaluation mode.
        history: A row for each epoch and run: ``run`` (its name), its settings, ``epoch`` from 1, means over the epoch
            of ``loss``, ``distortion``, ``rate`` and ``rate/<site>`` in nats per sample and of ``error`` as a share,
            all while the parameters moved, and ``lr``.
        table: A row for each run: its settings, ``diverged``, and what :func:`evaluate_side_by_side` says of it on the
            validation set, or without one the means of its last epoch; that of the test set as ``test_...``.
        diverged: The runs, by name, whose loss was not finite, and since when; the others are as if these were not.
        not_replayed: Why steps were not replayed from a recording; None if they were.
    """

    runs: tuple[Run, ...]
    programs: dict[str, nn.Module]
    history: pd.DataFrame
    table: pd.DataFrame
    diverged: dict[str, str] = field(default_factory=dict)
    not_replayed: str | None = None

    def curve(self, by: str = "beta", *, confidence: float = 0.95) -> pd.DataFrame:
        """Return the table averaged over runs that differ in nothing but their seeds; see :func:`curve`."""
        return curve(self.table, by, confidence=confidence)


def columns_of(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the settings of runs with the same columns for all: what one leaves to the default is None, or 0."""
    names = list(dict.fromkeys(name for run in runs for name in run.settings))
    empty = {name: 0.0 if name == "gamma" else None for name in names}
    return [{**empty, **run.settings} for run in runs]


def require_alike(runs: Sequence[Run]) -> None:
    """Raise unless there are runs, each under a name of its own.

    Raises:
        ValueError: Names the run that is there twice.
    """
    if not runs:
        raise ValueError("runs is empty; pass at least one Run")
    names = [run.name for run in runs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"runs: {twice[0]} is there twice; give one another seed or name, or leave it out")
