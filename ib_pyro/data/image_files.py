"""Files of images, read without trusting them."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

__all__ = ["SUFFIXES", "read_image"]

SUFFIXES = (".jpg", ".jpeg", ".png")
"""Endings of the names of files that are images."""

# What PIL makes three channels of eight bits of without a loss.
_MODES = ("RGB", "L", "P", "RGBA")
_FORMATS = ("JPEG", "PNG")
# What PIL raises of a file that is damaged, or would fill the memory.
_UNREADABLE = (
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    EOFError,
    IndexError,
    OSError,
    SyntaxError,
    ValueError,
    struct.error,
    zlib.error,
)


def read_image(path: str, *, size: tuple[int, int] | None = None, way_out: str) -> Tensor:
    """Read an image in colour.

    Args:
        path: The file, PNG or JPEG.
        size: The width and height that it must have; by default any.
        way_out: What is to be done about a file that cannot be read, for the error.

    Returns:
        Its pixels, uint8, shape ``[3, H, W]``.

    Raises:
        ValueError: If it cannot be read, has pixels of more than eight bits or transparent ones, or another size.
    """
    problem, pixels = None, None
    try:
        # What is called .png and is another format is not handed to that one's decoder, which may be a program.
        with Image.open(path, formats=_FORMATS) as image:
            problem = _problem(image, size)
            if problem is None:
                problem = _transparency(image)
            if problem is None:
                # As it is shown: cameras note which side is up.
                upright = ImageOps.exif_transpose(image)
                pixels = torch.from_numpy(np.array(upright.convert("RGB"))).permute(2, 0, 1)
    except _UNREADABLE as error:
        problem = f"not a readable image, PNG or JPEG ({type(error).__name__}: {error})"
    if pixels is None:
        raise ValueError(f"{path}: {problem}; {way_out}")
    return pixels


def _transparency(image: Image.Image) -> str | None:
    """Say that what an image shows is not in its colours; None if all of it is opaque."""
    if image.mode != "RGBA" and "transparency" not in image.info:
        return None
    share = (np.array(image.convert("RGBA"))[..., 3] < 255).mean()
    if share == 0:
        return None
    return f"{share:.1%} of its pixels are transparent, whose colours are not what it shows; lay it on a background"


def _problem(image: Image.Image, size: tuple[int, int] | None) -> str | None:
    """Say what is wrong by the head of a file, before anything is decoded; None if nothing is."""
    kind = image.mode
    if kind in _MODES:
        # PIL keeps the upper half of colours of 16 bits, and does not say so in the mode.
        tiles = (str(tile[-1]) for tile in getattr(image, "tile", []))
        kind = next((arguments for arguments in tiles if "16" in arguments), kind)
    if kind not in _MODES:
        return f"pixels of PIL's mode {kind!r}, but they must be bytes of colour or grey, from 0 to 255"
    if size is None or image.size == size:
        return None
    return f"expected {size[0]}x{size[1]} pixels, got {image.width}x{image.height}"
