"""Whether images and labels are what their place says they are, as far as that can be seen."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

__all__ = ["require_grey_levels", "require_labels", "require_number", "require_shape"]

OWN = "a set of your own goes in as ib_pyro.data.LabelledImages(x, y, classes)"


def require_shape(path: Path, images: Tensor, name: str, size: tuple[int, int]) -> None:
    """Check the height and width of images.

    Args:
        path: The file.
        images: Images, shape ``[N, H, W]``.
        name: The set that it stands for.
        size: The height and width of its images.

    Raises:
        ValueError: If they are others; names the file, what it holds and the way out.
    """
    if tuple(images.shape[1:]) != size:
        found, expected = ("x".join(map(str, shape)) for shape in (images.shape[1:], size))
        raise ValueError(
            f"{path}: images of {found} pixels, but those of {name!r} have {expected}; fetch it again, or {OWN}"
        )


def require_number(path: Path, number: int, name: str, most: int) -> None:
    """Check that a file or folder has no more images than the set has; fewer are a subset.

    Args:
        path: The file or folder.
        number: How many images it has.
        name: The set that it stands for.
        most: How many images the set has there.

    Raises:
        ValueError: If it has; names the file, both numbers and the way out.
    """
    if number > most:
        raise ValueError(
            f"{path}: {number} images, but {name!r} has {most} there; is it the other part, or another set? "
            f"Fetch it again, or {OWN}"
        )


def require_grey_levels(path: Path, images: Tensor) -> None:
    """Check that uint8 images are meant to have white at 255.

    A whole set whose brightest pixel is in the lower half of the range was written with another white, such as 1.

    Args:
        path: The file or folder.
        images: Images, uint8, of any shape.

    Raises:
        ValueError: If they are not; names the file, its brightest pixel and the way out.
    """
    brightest = int(images.max())
    if brightest < 128:
        raise ValueError(
            f"{path}: the brightest pixel is {brightest}, where white is 255; write the images as grey levels from 0 "
            "to 255 (0 and 1 as 0 and 255), or fetch them again"
        )


def require_labels(path: Path, labels: Tensor, num_classes: int) -> None:
    """Check that labels are those of classes.

    Args:
        path: The file.
        labels: Labels, integers of any shape.
        num_classes: How many classes there are.

    Raises:
        ValueError: If they are not; names the file, the range of its labels and the way out.
    """
    low, high = (int(bound) for bound in torch.aminmax(labels))
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"{path}: labels go from {low} to {high}, outside of 0..{num_classes - 1}; fetch it again, or {OWN}"
        )
