"""Images with their labels, whole sets in memory as tensors."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["LabelledImages"]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """A set of N labelled images, with the nuisance and the place of the digit where these are known.

    Prepare the images with ``dataclasses.replace(data, x=...)``, which checks the result again. What takes a map-style
    dataset of PyTorch's takes this one too: an image and its label by number.

    Args:
        x: Images, floating, shape ``[N, C, H, W]``; what :func:`load` returns is float32 in [0, 1].
        y: Labels of the task, int64 in ``0, ..., num_classes - 1``, shape ``[N]``.
        classes: The name of each class.
        nuisance: Labels of what should be ignored (the occluding digit), int64, shape ``[N]``.
        nuisance_classes: The name of each class of the nuisance.
        box: The digit's box, int64, shape ``[N, 4]``, as ``(x0, y0, x1, y1)`` in pixels with the ends excluded:
            the digit's ink is within ``x[n, :, y0:y1, x0:x1]``.

    Raises:
        ValueError: If there is no image, shapes or dtypes do not match, or a label is outside of the classes.

    Example:
        >>> data = LabelledImages(
        ...     torch.rand(6, 1, 8, 8), torch.tensor([0, 1, 0, 1, 0, 1]), ("even", "odd")
        ... )
        >>> len(data), data.image_shape, data.num_classes
        (6, (1, 8, 8), 2)
        >>> data.subset(data.y == 1).y
        tensor([1, 1, 1])
    """

    x: Tensor
    y: Tensor
    classes: tuple[str, ...]
    nuisance: Tensor | None = None
    nuisance_classes: tuple[str, ...] = ()
    box: Tensor | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or not self.x.is_floating_point():
            raise ValueError(
                f"x: expected floating images of shape [N, C, H, W], got {self.x.dtype} {list(self.x.shape)}"
            )
        if len(self.x) == 0:
            raise ValueError("x: the set is empty; it needs at least one image")
        _check_labels("y", self.y, len(self.x), len(self.classes))
        if self.nuisance is not None:
            _check_labels("nuisance", self.nuisance, len(self.x), len(self.nuisance_classes))
        if self.box is not None and tuple(self.box.shape) != (len(self.x), 4):
            raise ValueError(f"box: expected shape [{len(self.x)}, 4], got {list(self.box.shape)}")

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """Return an image, ``[C, H, W]``, and its label, as views.

        Raises:
            IndexError: If there are not so many.
            TypeError: If it is not one number; :meth:`subset` takes several, slices and masks.
        """
        try:
            place = operator.index(number)
        except TypeError:
            kind = type(number).__name__
            raise TypeError(
                f"a {type(self).__name__} gives an image by its number; got a {kind}: .subset() takes several"
            ) from None
        return self.x[place], self.y[place]

    def __repr__(self) -> str:
        extra = "".join(f", {name}" for name in ("nuisance", "box") if getattr(self, name) is not None)
        return (
            f"{type(self).__name__}({len(self)} images of shape {self.image_shape}, "
            f"{self.num_classes} classes{extra}, {self.x.device})"
        )

    @property
    def num_classes(self) -> int:
        """The number of classes of the task."""
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.x.shape[1:]
        return channels, height, width

    def to(self, device: torch.device | str) -> LabelledImages:
        """Return the set with every tensor on ``device``."""
        return self._map(lambda tensor: tensor.to(device))

    def subset(self, index: Tensor | slice | Sequence[int]) -> LabelledImages:
        """Return the images that ``index`` picks, in its order.

        Args:
            index: Positions (int64), a mask (bool, shape ``[N]``), or a slice, which copies nothing.

        Returns:
            The picked images with everything known about them.
        """
        if isinstance(index, slice):
            return self._map(lambda tensor: tensor[index])
        positions = torch.as_tensor(index, device=self.x.device)
        return self._map(lambda tensor: tensor[positions])

    def _map(self, function: Callable[[Tensor], Tensor]) -> LabelledImages:
        return replace(
            self,
            x=function(self.x),
            y=function(self.y),
            nuisance=None if self.nuisance is None else function(self.nuisance),
            box=None if self.box is None else function(self.box),
        )


def _check_labels(name: str, labels: Tensor, num_images: int, num_classes: int) -> None:
    if labels.dtype != torch.int64 or tuple(labels.shape) != (num_images,):
        raise ValueError(
            f"{name}: expected int64 labels of shape [{num_images}], got {labels.dtype} {list(labels.shape)}"
        )
    low, high = (int(bound) for bound in torch.aminmax(labels))
    if low < 0 or high >= num_classes:
        raise ValueError(f"{name}: labels go from {low} to {high}, outside of 0..{num_classes - 1}")
