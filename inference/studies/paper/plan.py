"""What the figures run: specs of their sizes, and what each run is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ib_pyro import Bottleneck
from inference.runs.spec import RunSpec
from inference.runs.splits import Splits
from inference.studies.paper.presets import Size

__all__ = ["Load", "Planned", "cifar_run", "cnn_run", "paper_run"]

Load = Callable[[], tuple[Bottleneck, Splits]]
"""Loads a run's fitted program and its images."""


@dataclass(frozen=True)
class Planned:
    """A run of a figure, and what it is for.

    Args:
        spec: The run; figures that need the same one share it.
        labels: Columns that its rows have beside their own.
    """

    spec: RunSpec
    labels: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What tells it from the figure's others."""
        return f"{self.spec.name} {self.labels}"


def paper_run(size: Size, *, seed: int = 0, **settings: Any) -> RunSpec:
    """One fit of a figure.

    Args:
        size: Its length, images and optimiser.
        seed: Its seed.
        **settings: Other settings of `RunSpec.of`.
    """
    return RunSpec.of(
        **{
            "epochs": size.epochs,
            "lr_drops": tuple(drop for drop in size.drops if drop < size.epochs),
            "lr": size.lr,
            "batch_size": size.batch_size,
            "nesterov": size.nesterov,
            "optimizer": "sgd",
            "steady_priors": True,
            "holdout": size.holdout,
            "limit": size.train_images,
            "validation_limit": 0,
            "test_limit": size.test_images,
            "num_samples": size.num_samples,
            "validate_every_epoch": False,
            "checkpoint_every": max(1, size.epochs // 40),
            "seed": seed,
            **settings,
        }
    )


def cnn_run(size: Size, **settings: Any) -> RunSpec:
    """One fit of an all-convolutional network, evaluated in batches that its first maps leave memory for."""
    return paper_run(size, **{"eval_batch_size": 250, **settings})


def cifar_run(size: Size, *, data: str = "cifar10", **settings: Any) -> RunSpec:
    """One fit of an All-CNN-32 on prepared images, weight decay ``1e-3 · ½ ||w||²`` as in the authors' code.

    Args:
        size: Its size.
        data: ``"cifar10"`` or ``"occluded-cifar"``.
        **settings: Other settings of `RunSpec.of`, such as the share of the filters, ``fraction``.
    """
    return cnn_run(size, model="all-cnn-32", data=data, whiten=True, weight_decay=1e-3, **settings)
