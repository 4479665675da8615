"""Digits as sprites: where their ink is, and which image gets which digit."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["deal", "generator_for", "ink_box"]


def ink_box(digits: Tensor) -> Tensor:
    """Return the smallest box around the ink of each digit.

    Args:
        digits: Images with 0 for no ink, shape ``[N, H, W]``.

    Returns:
        ``(x0, y0, x1, y1)`` with the ends excluded, int64, shape ``[N, 4]``; the whole image if it has no ink.

    Example:
        >>> digit = torch.zeros(1, 5, 8)
        >>> digit[0, 1:4, 2:7] = 1
        >>> ink_box(digit)
        tensor([[2, 1, 7, 4]])
    """
    columns, rows = (digits > 0).any(1).byte(), (digits > 0).any(2).byte()
    height, width = digits.shape[1:]
    return torch.stack(
        [
            columns.argmax(1),
            rows.argmax(1),
            width - columns.flip(1).argmax(1),
            height - rows.flip(1).argmax(1),
        ],
        dim=1,
    )


def deal(num_images: int, num_digits: int, generator: torch.Generator) -> Tensor:
    """Give each image a digit, using every digit once before any is used again.

    Args:
        num_images: How many images.
        num_digits: How many digits there are.
        generator: Source of the draw.

    Returns:
        A position in the digits for each image, int64, shape ``[num_images]``.
    """
    rounds = -(-num_images // num_digits)
    dealt = [torch.randperm(num_digits, generator=generator) for _ in range(rounds)]
    return torch.cat(dealt)[:num_images]


def generator_for(seed: int, part: str) -> torch.Generator:
    """Return the source of randomness of one part ("train" or "test") of a generated set.

    Raises:
        ValueError: If the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"seed: expected at least 0, got {seed}")
    return torch.Generator().manual_seed(2 * seed + (part == "test"))
