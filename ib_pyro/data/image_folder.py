"""A folder of images of one's own, one folder a class."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ib_pyro.data.content import require_grey_levels
from ib_pyro.data.image_files import SUFFIXES, read_image
from ib_pyro.data.labelled_images import LabelledImages
from ib_pyro.data.stratified_splits import hold_out

__all__ = ["load_image_folder"]

PARTS = ("train", "validation", "test")


def load_image_folder(
    folder: str | os.PathLike[str], *, size: int | None = None, test_share: float = 0.2
) -> dict[str, LabelledImages]:
    """Load a folder of images into memory, the names of its folders being the classes.

    Either ``folder/{train,test}/<class>/*.png``, with ``validation`` beside them where there is one, or
    ``folder/<class>/*.png``, of which a share of each class is then for the test; which ones depends on the files
    alone.

    Args:
        folder: The folder; PNG and JPEG are read, other files passed over.
        size: Height and width that the images are resized to; by default they must have one size, and keep it.
        test_share: Share of the images that are for the test where the folder does not say which.

    Returns:
        The images by split, float32 in [0, 1], of one channel if all of them are grey.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it has no classes, or splits that differ in them or lack one, folders beside the splits, images
            of several sizes, or a file that is damaged or in part transparent; names it.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; expected {root}/<class>/*.png, a folder a class")
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1 pixel; got {size}")
    if not 0 < test_share < 1:
        raise ValueError(f"test_share is a share of the images, within (0, 1); got {test_share:g}")
    # A class may be called "train", too: a split has folders in it.
    named = [
        part for part in PARTS if (root / part).is_dir() and any(map(Path.is_dir, (root / part).iterdir()))
    ]
    if not named:
        images, labels, classes = _read(root, size)
        x, y = _in_unit_interval(root, images), torch.tensor(labels)
        train, test = hold_out(y, max(1, round(test_share * len(y))))
        for part, rows in (("train", train), ("test", test)):
            missing = [name for label, name in enumerate(classes) if not bool((y[rows] == label).any())]
            if missing:
                raise ValueError(
                    f"{root}: with test_share={test_share:g} no image of {', '.join(missing)} is for {part}; add some,"
                    " choose another share, or make the splits yourself, train/<class>/ and test/<class>/"
                )
        return {name: LabelledImages(x[i], y[i], classes) for name, i in (("train", train), ("test", test))}
    others = sorted(path.name for path in root.iterdir() if path.is_dir() and path.name[:1] != ".")
    unknown = [name for name in others if name not in named]
    if unknown:
        raise ValueError(
            f"{root}: {', '.join(unknown)} beside {' and '.join(named)} is no split; they are called "
            f"{', '.join(PARTS)}: rename or move it"
        )
    for part in ("train", "test"):
        if part not in named:
            raise ValueError(
                f"{root}: it has {' and '.join(named)}, but no {part}; make {root / part}/<class>/*.png"
            )
    read = {part: _read(root / part, size) for part in named}
    return _alike(root, read)


def _alike(
    root: Path, read: dict[str, tuple[list[Tensor], list[int], tuple[str, ...]]]
) -> dict[str, LabelledImages]:
    """Put the splits together, once they are of the same classes and size."""
    classes = read["train"][2]
    for part, (_, _, others) in read.items():
        if others != classes:
            differing = ", ".join(sorted({*classes} ^ {*others}))
            raise ValueError(
                f"{root}: train and {part} differ in their classes ({differing}); make them the same"
            )
    every = [image for images, _, _ in read.values() for image in images]
    x = _in_unit_interval(root, every)
    parts = x.split([len(images) for images, _, _ in read.values()])
    return {
        part: LabelledImages(piece, torch.tensor(y), classes)
        for piece, (part, (_, y, _)) in zip(parts, read.items(), strict=True)
    }


def _read(folder: Path, size: int | None) -> tuple[list[Tensor], list[int], tuple[str, ...]]:
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[:1] != "."))
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "none"
        raise ValueError(
            f"{folder}: {found} of two or more classes; expected {folder}/<class>/*.png, a folder a class"
        )
    images: list[Tensor] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = sorted(path for path in (folder / name).iterdir() if path.name.lower().endswith(SUFFIXES))
        if not files:
            raise ValueError(
                f"{folder / name}: no image ({', '.join(SUFFIXES)}) in it; add some, or remove it"
            )
        for file in files:
            pixels = read_image(str(file), way_out="convert it, or remove it")
            images.append(_resized(pixels, size))
            if images[-1].shape != images[0].shape:
                mine, first = (f"{image.shape[2]}x{image.shape[1]}" for image in (images[-1], images[0]))
                raise ValueError(
                    f"{file}: {mine} pixels, where the first image has {first}; pass size=, which all are resized to"
                )
        labels += [label] * len(files)
    return images, labels, classes


def _resized(pixels: Tensor, size: int | None) -> Tensor:
    if size is None or pixels.shape[1:] == (size, size):
        return pixels
    found = F.interpolate(
        pixels[None].float(), size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )
    return found[0].round().clamp(0, 255).to(torch.uint8)


def _in_unit_interval(root: Path, images: list[Tensor]) -> Tensor:
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise ValueError(
            f"{root}: its splits have images of several sizes; pass size=, which all are resized to"
        )
    x = torch.stack(images)
    require_grey_levels(root, x)
    if bool((x == x[:, :1]).all()):
        x = x[:, :1]
    return x.float() / 255
