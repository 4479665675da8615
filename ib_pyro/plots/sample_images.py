"""Pictures of a few images of a set, with their labels."""

import math

import numpy as np
from matplotlib.axes import Axes

from ib_pyro.data import LabelledImages
from ib_pyro.plots._axes import ORANGE, as_array, as_shades, axes_or_new

__all__ = ["plot_samples"]

# Shares of an image's height and width: space for a line of text above it, and between it and the next one.
_LINE, _GAP = 0.12, 0.08


def plot_samples(
    data: LabelledImages, num: int = 8, *, columns: int = 4, color: str = ORANGE, ax: Axes | None = None
) -> Axes:
    """Draw the first images of a set in rows, each under its class and, where the set has one, its nuisance.

    Where the set has boxes, each image's is outlined: pixel (x, y) covers the square from (x, y) to
    (x + 1, y + 1), and the box (x0, y0, x1, y1) goes from corner to corner. Others than the first images are
    those of ``data.subset(index)``.

    Args:
        data: The set, on any device; images of 1 or 3 channels, values in [0, 1].
        num: Number of images, 1 to ``len(data)``.
        columns: Images in a row; fewer images make a shorter row.
        color: Colour of the boxes.
        ax: Axes to draw into, all images in one frame; None: those of a new figure.

    Returns:
        The Axes; an image of the set is one of theirs, in pixels.

    Raises:
        ValueError: If the set has fewer images, other channels or values outside of [0, 1].

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from ib_pyro.data import LabelledImages
        >>> data = LabelledImages(
        ...     torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 1]), ("cat", "dog")
        ... )
        >>> ax = plot_samples(data, 3, ax=Figure().subplots())
        >>> [text.get_text() for text in ax.texts]
        ['cat', 'dog', 'dog']
    """
    if not 1 <= num <= len(data):
        raise ValueError(f"num: {num} of a set of {len(data)} images; give 1 to {len(data)}")
    if columns < 1:
        raise ValueError(f"columns: {columns}, must be at least 1")
    shown = data.subset(slice(num))
    images = _pictures(shown)
    titles = _titles(shown)
    height, width = images.shape[1:3]
    step_x = width * (1 + _GAP)
    head = height * _LINE * (1 + titles[0].count("\n"))
    step_y = height * (1 + _GAP) + head
    boxes = None if shown.box is None else as_array(shown.box, "box", 2)
    ax = axes_or_new(ax, wide=True)
    for i, (image, title) in enumerate(zip(images, titles, strict=True)):
        left, top = step_x * (i % columns), step_y * (i // columns)
        extent = (left, left + width, top + height, top)
        ax.imshow(image, cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="nearest")
        ax.text(left + width / 2, top - height * _GAP / 2, title, ha="center", va="bottom", fontsize="small")
        if boxes is not None:
            x0, y0, x1, y1 = boxes[i]
            x, y = left + np.array([x0, x1, x1, x0, x0]), top + np.array([y0, y0, y1, y1, y0])
            ax.plot(x, y, color=color, linewidth=1.5)
    right = step_x * min(num, columns) - width * _GAP
    bottom = step_y * math.ceil(num / columns) - head - height * _GAP
    ax.set(xlim=(0, right), ylim=(bottom, -head - height * _GAP / 2))
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def _pictures(data: LabelledImages) -> np.ndarray:
    """The images as Matplotlib takes them: [N, H, W] or [N, H, W, 3]."""
    images = as_shades(data.x, "x", 4)
    if images.shape[1] not in (1, 3):
        raise ValueError(f"x: expected images of 1 or 3 channels, got {list(images.shape)}")
    return images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, -1)


def _titles(data: LabelledImages) -> list[str]:
    titles = [data.classes[label] for label in data.y.tolist()]
    if data.nuisance is None:
        return titles
    ignored = [data.nuisance_classes[label] for label in data.nuisance.tolist()]
    return [f"{title}\nnuisance: {other}" for title, other in zip(titles, ignored, strict=True)]
