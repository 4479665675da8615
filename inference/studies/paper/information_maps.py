"""Information maps: the rate of a noisy layer at each position, and the share of it in a box; measured and drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from torch import Tensor
from torch.nn import functional as F

from ib_pyro import Bottleneck
from ib_pyro.diagnostics import elementwise_rates, rate_by_position
from ib_pyro.plots import plot_information_map
from ib_pyro.training.noisy_sites import read_sites
from inference.studies.paper.methods import ORANGE

__all__ = [
    "box_coverage",
    "draw_image",
    "draw_maps",
    "line_rows",
    "matrix_of",
    "rate_maps",
    "share_in_box",
    "values_in_words",
]

Row = dict[str, Any]

# Height and width of the images.
_PIXELS = 96


def rate_maps(program: Bottleneck, x: Tensor) -> dict[str, Tensor]:
    """The information map of each image at each site, ``[N, H, W]``, nats per position."""

    def read(part: Tensor) -> dict[str, Tensor]:
        return {site: rate_by_position(rate) for site, rate in elementwise_rates(program, part).items()}

    return read_sites(program, x, read)


def box_coverage(box: Tensor, height: int, width: int, size: int) -> Tensor:
    """Share of each position's pixels that lies within a box.

    Args:
        box: ``[N, 4]``, ``(x0, y0, x1, y1)`` in pixels, ends excluded.
        height: Rows of the map.
        width: Columns of the map.
        size: Height and width of the image in pixels.

    Returns:
        ``[N, height, width]``, in [0, 1].

    >>> box_coverage(torch.tensor([[0, 0, 3, 4]]), 2, 2, 8)[0]
    tensor([[0.7500, 0.0000],
            [0.0000, 0.0000]])
    """
    x0, y0, x1, y1 = box.to(torch.float32).unbind(1)

    def covered(low: Tensor, high: Tensor, cells: int) -> Tensor:
        step = size / cells
        edges = torch.arange(cells) * step
        overlap = torch.minimum(high[:, None], edges + step) - torch.maximum(low[:, None], edges)
        return overlap.clamp_min(0) / step

    return covered(y0, y1, height)[:, :, None] * covered(x0, x1, width)[:, None, :]


def share_in_box(rate: Tensor, x: Tensor, box: Tensor) -> dict[str, float]:
    """The share of all the images' rate within their boxes, its standard error over images, and what to expect.

    Args:
        rate: Maps of a site, ``[N, H, W]``, nats per position.
        x: The images, ``[N, C, height, width]``.
        box: Their boxes, ``[N, 4]``.

    Returns:
        ``share_in_box`` and its standard error ``share_in_box_se``; ``chance``, the boxes' share of the area;
        ``ink_in_box``, their share of the images' ink, the sum of the pixels: that of a rate which follows the ink,
        whether it is the digit's or clutter; and ``rate_in_box`` and ``rate_outside``, nats per image.
    """
    inside = box_coverage(box, *rate.shape[1:], size=x.shape[-1])
    ink = F.adaptive_avg_pool2d(x.sum(1), rate.shape[1:])
    within, total = (rate * inside).sum((1, 2)), rate.sum((1, 2))
    # A ratio of means: a mean of ratios would give images in which nothing gets through a say.
    share = within.mean() / total.mean()
    residual = (within - share * total) / total.mean()
    return {
        "share_in_box": share.item(),
        "share_in_box_se": residual.std().item() / math.sqrt(len(residual)),
        "chance": inside.mean((1, 2)).mean().item(),
        "ink_in_box": ((ink * inside).sum((1, 2)).mean() / ink.sum((1, 2)).mean()).item(),
        "rate_in_box": within.mean().item(),
        "rate_outside": (total - within).mean().item(),
    }


def line_rows(label: Row, picture: Tensor) -> list[Row]:
    """A picture as rows, one for each of its lines.

    Args:
        label: Columns that all of them have.
        picture: ``[H, W]``.
    """
    return [{**label, "line": line, "values": values_in_words(values)} for line, values in enumerate(picture)]


def matrix_of(rows: pd.DataFrame) -> np.ndarray:
    """The picture of ``line_rows``, ``[H, W]``."""
    return np.array(
        [[float(value) for value in str(line).split()] for line in rows.sort_values("line")["values"]]
    )


def values_in_words(values: Tensor) -> str:
    """Numbers in a cell."""
    return " ".join(f"{value:.4g}" for value in values.tolist())


def draw_image(ax: Axes, lines: pd.DataFrame) -> None:
    """Draw an image, of grey values to 255, and its box."""
    ax.imshow(matrix_of(lines), cmap="gray", vmin=0, vmax=255)
    _draw_box(ax, lines, scale=1.0)
    ax.set(xticks=[], yticks=[])
    ax.set_title("a test image", fontsize="small")


def draw_maps(
    axes: Sequence[Axes], maps: Sequence[pd.DataFrame], images: Sequence[pd.DataFrame], names: Sequence[str]
) -> None:
    """Draw maps of a site on one scale, each with the box of its image: a darker map is a smaller rate.

    Args:
        axes: Where to draw.
        maps: Lines of each map.
        images: Lines of each one's image.
        names: What stands before each one's nats.
    """
    pictures = [matrix_of(lines) for lines in maps]
    # Colours by the square root, or the smallest rates could not be told from none.
    norm = PowerNorm(0.5, vmin=0, vmax=max(values.max() for values in pictures) or 1.0)
    for ax, values, lines, name in zip(axes, pictures, images, names, strict=True):
        plot_information_map(
            values, norm=norm, colorbar=False, title=f"{name}{values.sum():,.0f} nats", ax=ax
        )
        _draw_box(ax, lines, scale=values.shape[0] / _PIXELS)
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
        ax.title.set_fontsize("small")
    bar = axes[0].figure.colorbar(
        axes[-1].images[-1], ax=list(axes), location="bottom", shrink=0.8, aspect=12
    )
    bar.ax.tick_params(labelsize="x-small")
    bar.set_label("nats per position", fontsize="x-small")


def _draw_box(ax: Axes, lines: pd.DataFrame, *, scale: float) -> None:
    x0, y0, x1, y1 = (scale * int(edge) - 0.5 for edge in lines["box"].iloc[0].split())
    ax.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=ORANGE, linewidth=1)
