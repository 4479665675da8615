"""What sets one run apart from those beside it, and what comes of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from ib_pyro.elbo.weights import check_scalar_weight

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

__all__ = ["Run", "SideBySide", "require_alike"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One of several runs that are trained side by side.

    Args:
        beta: Weight of the rate, per sample in nats; a number, or one for each site.
        gamma: Weight of the total correlation.
        seed: Seed of the parameters, the noise and the order of the samples.
        lr: Learning rate; by default that of all runs.
        options: Arguments of this run's program, such as ``{"drop_prob": 0.2}``.
        name: What messages and tables call it; by default what it is made of.

    Raises:
        ValueError: If a weight is negative or infinite, or the learning rate is not positive.
    """

    beta: float | Mapping[str, float] = 1.0
    gamma: float = 0.0
    seed: int = 0
    lr: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        check_scalar_weight(self.beta, "beta", "as a run has one")
        check_scalar_weight(self.gamma, "gamma", "as a run has one")
        if self.lr is not None and not self.lr > 0:
            raise ValueError(f"lr must be positive; got {self.lr}")
        if not self.name:
            settings = {"beta": self.beta, "gamma": self.gamma or None, "seed": self.seed, "lr": self.lr}
            shown = {**settings, **self.options}
            parts = [f"{key}={value}" for key, value in shown.items() if value is not None]
            object.__setattr__(self, "name", ", ".join(parts))

    @property
    def betas(self) -> dict[str, float]:
        """Return beta as numbers by name, ``beta``, or ``beta/<site>`` of each site that has its own."""
        if isinstance(self.beta, Mapping):
            return {f"beta/{site}": float(value) for site, value in self.beta.items()}
        return {"beta": float(self.beta)}


@dataclass(frozen=True)
class SideBySide:
    """What came of several runs.

    Attributes:
        programs: The trained programs by the name of their run, in evaluation mode.
        table: A row a run: ``run``, ``beta`` (per sample, nats; or ``beta/<site>``), ``gamma``, ``seed``, ``lr``, the
            run's options, ``loss``, ``distortion``, ``rate`` and ``rate/<site>`` (nats per sample, means over the last
            epoch, while the parameters moved), ``train_error`` as a share where y are labels, the same of the test set
            as ``test_...`` under one draw of the noise, and ``diverged_at``: the first epoch with a loss that is not
            finite, or missing.
        history: A row for each epoch and run.
    """

    programs: dict[str, nn.Module]
    table: pd.DataFrame
    history: pd.DataFrame


def require_alike(runs: Sequence[Run]) -> None:
    """Raise unless the runs may be trained side by side, as far as their settings say.

    Raises:
        ValueError: Names the runs and what keeps them apart.
    """
    if not runs:
        raise ValueError("runs is empty; pass at least one Run")
    names = [run.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"run {twice[0]!r} is there more than once; name each, or leave one out")
    for run in runs[1:]:
        if run.betas.keys() != runs[0].betas.keys():
            raise ValueError(
                f"run {run.name!r} weights {list(run.betas)}, run {runs[0].name!r} weights {list(runs[0].betas)}; "
                "weight the same sites in all runs (1.0 is what a site without a weight has)"
            )
        if (run.gamma == 0) != (runs[0].gamma == 0):
            raise ValueError(
                f"run {run.name!r} has gamma={run.gamma}, run {runs[0].name!r} gamma={runs[0].gamma}: with gamma=0 no "
                "total correlation is estimated; train those with gamma=0 in another call"
            )
