"""Stand-ins of the paper's sets, made of scikit-learn's digits, to try the programs without any download."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional as F

from ib_pyro.data import LabelledImages, load

__all__ = ["stand_in"]


def stand_in(name: str, split: str, limit: int | None) -> LabelledImages:
    """Make a set of the shapes and labels of the named one, a pure function of its arguments.

    Args:
        name: ``"mnist"``, ``"cifar10"``, ``"occluded-cifar"`` or ``"cluttered-mnist"``.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        limit: Number of images, at most those of the digits' split.

    Returns:
        Digits of 28x28 pixels; the same of 32x32 in colour; the same over stripes whose angle is the task's
        label and whose digit is the nuisance; a digit at a random place on a canvas of 96x96.
    """
    digits = load("digits", split)
    digits = digits if limit is None else digits.subset(slice(min(limit, len(digits))))
    if name == "mnist":
        return replace(digits, x=_resized(digits, 28))
    if name == "cifar10":
        return replace(digits, x=_resized(digits, 32).expand(-1, 3, -1, -1).contiguous())
    generator = torch.Generator().manual_seed(len(split))
    return (_occluded if name == "occluded-cifar" else _cluttered)(digits, generator)


def _resized(digits: LabelledImages, size: int) -> torch.Tensor:
    return F.interpolate(digits.x, size=(size, size), mode="bilinear", align_corners=False)


def _occluded(digits: LabelledImages, generator: torch.Generator) -> LabelledImages:
    count = len(digits)
    y = torch.randint(10, (count,), generator=generator)
    angle = (y * torch.pi / 10).view(-1, 1, 1, 1)
    axis = torch.arange(32.0)
    waves = torch.cos((axis * angle.cos() + axis[:, None] * angle.sin()) * torch.pi / 4)
    ink = F.pad(_resized(digits, 16), (8, 8, 8, 8))
    noise = 0.2 * torch.rand(count, 3, 32, 32, generator=generator)
    x = ink + (1 - ink) * (0.4 + 0.4 * waves + noise).clamp(0, 1)
    box = torch.tensor([8, 8, 24, 24]).expand(count, 4)
    names = tuple(f"{degrees} degrees" for degrees in range(0, 180, 18))
    return LabelledImages(x, y, names, nuisance=digits.y, nuisance_classes=digits.classes, box=box)


def _cluttered(digits: LabelledImages, generator: torch.Generator) -> LabelledImages:
    ink = _resized(digits, 28)
    corner = torch.randint(96 - 28 + 1, (len(ink), 2), generator=generator)
    x = 0.2 * torch.rand(len(ink), 1, 96, 96, generator=generator)
    for image, patch, (left, top) in zip(x, ink, corner.tolist(), strict=True):
        image[:, top : top + 28, left : left + 28] += patch
    return replace(digits, x=x.clamp(0, 1), box=torch.cat([corner, corner + 28], 1))
