"""Information map: the rate at each position of a layer, over or beside its image."""

from __future__ import annotations

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from torch import Tensor

from ib_pyro.choices import require_known
from ib_pyro.plots._axes import as_numbers, as_shades, axes_or_new, beyond, sequential_or_grey

__all__ = ["plot_information_map"]


def plot_information_map(
    rate: Tensor | ArrayLike,
    image: Tensor | ArrayLike | None = None,
    *,
    style: Literal["over", "beside"] = "over",
    vmax: float | None = None,
    norm: Normalize | None = None,
    colorbar: bool = True,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one sample's rate by position, in absolute nats.

    The map is stretched over the image, so each position covers the pixels under its share of the layer
    (not its receptive field, which is larger). Pass one ``vmax`` or ``norm`` to maps that are to be compared; the
    colour bar has an arrow at an end that values lie beyond. Positions without a value, NaN, are grey and counted in
    the heading.

    Args:
        rate: Rate by position, [h, w], nats per position: one sample of ``rate_by_position``. NaN is missing.
        image: The input, [H, W] or [C, H, W] with C 1 or 3, values in [0, 1]. None: the map alone, in
            positions.
        style: ``over`` lays the map half transparent on the image in grey, ``beside`` puts the image to its
            left.
        vmax: Upper end of colours that begin at 0, nats per position; default: from 0, or the smallest rate where one
            is negative, to the largest.
        norm: How nats become colours, where a linear scale hides small rates, such as
            ``matplotlib.colors.PowerNorm(0.5, vmin=0, vmax=30)``; the colour bar still counts nats. None: linear,
            by ``vmax``.
        colorbar: Whether to add the colour bar.
        title: Heading; default: the sum of the map, the sample's rate in nats, and how many positions are missing.
        ax: Axes to draw into; None: those of a new figure.

    Returns:
        The Axes; the map is the last of its images.

    Raises:
        ValueError: If a shape or ``style`` is wrong, both ``vmax`` and ``norm`` are given, ``vmax`` is negative, a
            rate is infinite or all are missing, or the image has values outside of [0, 1].
    """
    require_known("style:", style, ("over", "beside"))
    if vmax is not None and norm is not None:
        raise ValueError(f"vmax: {vmax} beside a norm; give the upper end to the norm instead")
    if vmax is not None and not 0 <= vmax < np.inf:
        raise ValueError(f"vmax: {vmax}, must be a number of nats >= 0")
    values = as_numbers(rate, "rate", 2, missing=True)
    picture = None if image is None else _picture(image)
    height, width = values.shape if picture is None else picture.shape[:2]
    # Side by side in one frame, so that a caller's grid of Axes stays a grid.
    shift = 1.08 * width if picture is not None and style == "beside" else 0.0
    ax = axes_or_new(ax, wide=shift > 0)
    if picture is not None:
        # Over a coloured image the map's own colours could not be read.
        shown = picture.mean(-1) if style == "over" and picture.ndim == 3 else picture
        ax.imshow(shown, cmap="gray", vmin=0, vmax=1, extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    norm = _linear(values, vmax) if norm is None else norm
    extend = beyond(values, norm.vmin, norm.vmax)
    drawn = ax.imshow(
        values,
        cmap=sequential_or_grey(),
        norm=norm,
        extent=(shift - 0.5, shift + width - 0.5, height - 0.5, -0.5),
        interpolation="nearest",
        alpha=0.6 if picture is not None and style == "over" else 1.0,
    )
    ax.set(xlim=(-0.5, shift + width - 0.5), ylim=(height - 0.5, -0.5))
    if colorbar:
        ax.figure.colorbar(drawn, ax=ax, label="rate [nats per position]", extend=extend)
    unit = "position" if picture is None else "pixel"
    ax.set(
        xlabel=f"column [{unit}]", ylabel=f"row [{unit}]", title=_heading(values) if title is None else title
    )
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    locator = MaxNLocator(4, integer=True, min_n_ticks=1)
    ticks = [t for t in locator.tick_values(0, width - 1) if 0 <= t <= width - 1]
    starts = [0.0, shift] if shift else [0.0]
    ax.set_xticks([start + t for start in starts for t in ticks], [f"{t:g}" for t in ticks] * len(starts))
    if shift:
        ax.spines[:].set_visible(False)
    return ax


def _linear(values: np.ndarray, vmax: float | None) -> Normalize:
    """Colours from 0 on, or from the smallest rate where the user leaves the ends open."""
    low, high = (min(0.0, np.nanmin(values)), max(0.0, np.nanmax(values))) if vmax is None else (0.0, vmax)
    # A map of zeros has a scale too: its colour is that of 0.
    return Normalize(low, high if high > low else 1.0)


def _heading(values: np.ndarray) -> str:
    heading, missing = f"rate: {np.nansum(values):.4g} nats", int(np.isnan(values).sum())
    return f"{heading}, without {missing} of {values.size} positions (grey)" if missing else heading


def _picture(image: Tensor | ArrayLike) -> np.ndarray:
    """The image as Matplotlib takes it: [H, W] or [H, W, 3]."""
    array = as_shades(image, "image", 2, 3)
    if array.ndim == 2:
        return array
    if array.shape[0] not in (1, 3):
        raise ValueError(f"image: expected [H, W] or [C, H, W] with C 1 or 3, got {list(array.shape)}")
    return array[0] if array.shape[0] == 1 else np.moveaxis(array, 0, -1)
