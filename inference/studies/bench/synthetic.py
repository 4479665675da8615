"""Data of the shape of real images: what a step costs does not depend on the pixels."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["binary_images", "labelled_images"]


def labelled_images(number: int, shape: tuple[int, ...], device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Draw uniform pixels ``[N, *shape]`` and labels ``[N]`` of 10 classes, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(number, *shape, generator=generator)
    return x.to(device), torch.randint(10, (number,), generator=generator).to(device)


def binary_images(number: int, device: str = "cpu") -> Tensor:
    """Draw images ``[N, 1, 28, 28]`` of zeros and ones, a fifth of them ones, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(number, 1, 28, 28, generator=generator) < 0.2).float().to(device)
