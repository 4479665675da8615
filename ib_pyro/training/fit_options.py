"""The options of a fit, and which of them go together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ib_pyro.checks import require_count
from ib_pyro.choices import require_known
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.elbo.weights import Weight
from ib_pyro.training.checkpoint import Stateful
from ib_pyro.training.data_checks import Transform
from ib_pyro.training.early_stopping import MONITORS
from ib_pyro.training.lagrangian import Schedule
from ib_pyro.training.one_device import OneDevice

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["FitOptions", "MakeOptimizer", "MakeScheduler", "require_schedules"]

MakeOptimizer = Callable[[Any], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler]


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """The options of a fit, as :func:`ib_pyro.fit` explains them."""

    epochs: int
    batch_size: int | None = None
    drop_last: bool = False
    beta: Weight | None = None
    elbo: InformationBottleneckELBO | None = None
    warm_up: float = 0.0
    schedules: Mapping[str, Schedule] | None = None
    optimizer: str | Optimizer | MakeOptimizer = "adam"
    lr: float | None = None
    scheduler: LRScheduler | MakeScheduler | None = None
    validation: object | None = None
    patience: int | None = None
    monitor: str = "loss"
    transform: Transform | None = None
    order: torch.Generator | None = None
    out: Path | str | None = None
    checkpoint_every: int = 1
    also: Mapping[str, Stateful] | None = None
    stamp: Mapping[str, str] | None = None
    resume: bool = False
    fabric: Fabric | OneDevice | None = None
    capture: str = "auto"
    progress: bool = True

    def __post_init__(self) -> None:
        for name in ("epochs", "checkpoint_every", "batch_size", "patience"):
            if getattr(self, name) is not None:
                require_count(name, getattr(self, name))
        require_known("monitor", self.monitor, MONITORS)
        if not isinstance(self.order, torch.Generator | None):
            raise TypeError(
                f"order is a generator that draws the order of the samples; got a {type(self.order).__name__}: pass "
                "torch.Generator().manual_seed(0)"
            )
        if self.patience is not None and self.validation is None:
            raise ValueError(
                f"patience={self.patience} waits for a gain on held-out data; pass them as validation="
            )
        if self.beta is not None and self.elbo is not None:
            raise ValueError(
                f"beta={self.beta!r} and elbo={self.elbo!r} both weigh the rate; pass one of them"
            )
        if not 0 <= self.warm_up < math.inf:
            raise ValueError(f"warm_up must be a finite number of epochs, at least 0; got {self.warm_up}")
        if self.warm_up and "beta" in (self.schedules or {}):
            raise ValueError("warm_up and schedules['beta'] both move beta; pass one of them")
        if self.lr is not None and not isinstance(self.optimizer, str):
            raise ValueError(
                f"lr={self.lr} goes with an optimizer by name; give it to the {type(self.optimizer).__name__} itself"
            )
        if self.resume and self.out is None:
            raise ValueError("resume=True goes on from a checkpoint; pass out=, where it is")


def require_schedules(schedules: Mapping[str, Schedule], elbo: InformationBottleneckELBO) -> None:
    """Raise unless each schedule is a function, and of an attribute that the objective has.

    Args:
        schedules: The schedules, by the attributes that they move.
        elbo: The objective.

    Raises:
        ValueError: If the objective has no such attribute; names it.
        TypeError: If a schedule is no function.
    """
    for name, schedule in schedules.items():
        if not hasattr(elbo, name):
            raise ValueError(
                f"schedules[{name!r}]: {type(elbo).__name__} has no {name} to move; beta, gamma and a target of its "
                "penalty can be, and the learning rate by scheduler="
            )
        if not callable(schedule):
            raise TypeError(
                f"schedules[{name!r}] is {schedule!r}; pass a function from the finished epochs, a fraction, to its "
                "value"
            )
