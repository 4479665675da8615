"""The All-CNN-32 runs of Figures 1, 3b, 4, 5 and 6."""

from __future__ import annotations

from typing import Any

from inference.paper.presets import Size
from inference.paper.run import PaperRun

__all__ = ["cifar_run"]


def cifar_run(
    size: Size, *, fraction: float, seed: int = 0, data: str = "cifar10", **settings: Any
) -> PaperRun:
    """One fit on prepared images: SGD with momentum 0.9, weight decay ``1e-3 · ½ ||w||²`` as in the authors' code.

    Args:
        size: Its size.
        fraction: Share of the filters.
        seed: Its seed.
        data: ``"cifar10"`` or ``"occluded-cifar"``.
        **settings: Other settings of `PaperRun`.
    """
    return PaperRun(
        model="all-cnn-32",
        data=data,
        size=fraction,
        whiten=True,
        epochs=size.epochs,
        drops=size.drops,
        lr=size.lr,
        batch_size=size.batch_size,
        nesterov=size.nesterov,
        weight_decay=1e-3,
        holdout=size.holdout,
        train_images=size.train_images,
        test_images=size.test_images,
        num_samples=size.num_samples,
        seed=seed,
        **settings,
    )
