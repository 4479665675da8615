"""Maps of information: where in an image the nats are that a network is left with."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["InformationMaps", "share_inside", "spread_over_pixels"]


class InformationMaps(NamedTuple):
    """The information that reaches a network's answer through a place, by position.

    Attributes:
        rate: ``[N, ...positions]``, nats per position: an upper bound of the information that is let through there.
        distortion: Cross-entropy of the classes asked for, under the noise, ``[N]``, nats.
    """

    rate: Tensor
    distortion: Tensor

    def over_pixels(self, size: tuple[int, int]) -> Tensor:
        """Return the maps at the size of the images, ``[N, H, W]``, nats per pixel; see :func:`spread_over_pixels`."""
        return spread_over_pixels(self.rate, size)


def spread_over_pixels(rate: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate maps to the size of an image, so that each keeps its sum.

    Args:
        rate: ``[N, h, w]``, nats per position.
        size: Rows and columns of the image.

    Returns:
        ``[N, *size]``, nats per pixel.

    Raises:
        ValueError: If the maps have no rows and columns.
    """
    if rate.dim() != 3:
        raise ValueError(f"rate: expected [N, h, w], got {list(rate.shape)}; maps of tokens have no pixels")
    wide = F.interpolate(rate[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    total, wide_total = rate.sum((1, 2)), wide.sum((1, 2))
    return wide * torch.where(wide_total != 0, total / wide_total, 0.0)[:, None, None]


def share_inside(maps: Tensor, inside: Tensor) -> Tensor:
    """Return which share of each map lies in a part of the image, such as the box of an object.

    Args:
        maps: ``[N, H, W]``, not negative.
        inside: Truth value of each pixel, ``[N, H, W]``.

    Returns:
        ``[N]``, in [0, 1]; NaN for a map that is zero everywhere.
    """
    if maps.shape != inside.shape or bool((maps < 0).any()):
        raise ValueError(
            f"maps {list(maps.shape)} and inside {list(inside.shape)} must have one shape, and maps not be negative "
            f"(min {maps.min():.4g}): take the absolute value, or clamp, of maps with a sign"
        )
    return (maps * inside).sum((1, 2)) / maps.sum((1, 2))
