"""A set before it is split: labels at once, images when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ib_pyro.data.labelled_images import LabelledImages

__all__ = ["Pool"]

# Images turned into float at a time: bounds what is held beside the result.
_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class Pool:
    """The training pool or the test images of a set, from which ``take`` makes a :class:`LabelledImages`.

    Args:
        y: Labels, int64, shape ``[N]``.
        images: Maps positions ``[n]`` to the images there, uint8, shape ``[n, C, H, W]``.
        classes: The name of each class.
        white: The integer that becomes 1.0.
        nuisance: Labels of the nuisance, int64, shape ``[N]``.
        nuisance_classes: The name of each class of the nuisance.
        box: The digit's box, int64, shape ``[N, 4]``, as in :class:`LabelledImages`.
    """

    y: Tensor
    images: Callable[[Tensor], Tensor]
    classes: tuple[str, ...]
    white: int = 255
    nuisance: Tensor | None = None
    nuisance_classes: tuple[str, ...] = ()
    box: Tensor | None = None

    def take(self, index: Tensor) -> LabelledImages:
        """Return the images at ``index`` (int64, shape ``[n]``, n >= 1) as float32 in [0, 1]."""
        shape = self.images(index[:1]).shape[1:]
        x = torch.empty((len(index), *shape), dtype=torch.float32)
        for start in range(0, len(index), _CHUNK):
            part = slice(start, start + _CHUNK)
            x[part].copy_(self.images(index[part])).div_(self.white)
        return LabelledImages(
            x,
            self.y[index],
            self.classes,
            nuisance=None if self.nuisance is None else self.nuisance[index],
            nuisance_classes=self.nuisance_classes,
            box=None if self.box is None else self.box[index],
        )
