"""The learned noise: a heat map by sample and unit, and its distribution by class."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from torch import Tensor

from ib_pyro.plots._axes import BLUE, GREY, ORANGE, SEQUENTIAL, as_array, axes_or_new

__all__ = ["plot_alpha_by_class", "plot_noise"]


def plot_noise(
    alpha: Tensor | ArrayLike,
    *,
    labels: Tensor | ArrayLike | None = None,
    alpha_max: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the noise scale of every sample and unit as a heat map.

    Args:
        alpha: Noise scale, [N, units]: the standard deviation of log eps, without unit.
        labels: Classes, [N]; samples are then sorted by class, and the vertical axis shows classes.
        alpha_max: Upper end of the colours; default: the largest value.
        ax: Axes to draw into; None: those of a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: If a shape is wrong.
    """
    values = as_array(alpha, "alpha", 2)
    ax = axes_or_new(ax)
    if labels is not None:
        classes = _classes(labels, len(values))
        values = values[np.argsort(classes, kind="stable")]
    top = values.max() if alpha_max is None else alpha_max
    image = ax.imshow(values, aspect="auto", cmap=SEQUENTIAL, vmin=0, vmax=top, interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label="noise scale α [std of log ε]")
    ax.set(xlabel="unit", ylabel="sample" if labels is None else "class (samples sorted by it)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    if labels is not None:
        present, counts = np.unique(classes, return_counts=True)
        ends = np.cumsum(counts)
        for end in ends[:-1]:
            ax.axhline(end - 0.5, color="white", linewidth=1)
        ax.set_yticks(ends - counts / 2 - 0.5, [str(c) for c in present])
    return ax


def plot_alpha_by_class(
    alpha: Tensor | ArrayLike, labels: Tensor | ArrayLike, *, color: str = BLUE, ax: Axes | None = None
) -> Axes:
    """Draw the distribution over samples of the mean noise scale, by class.

    Each sample's alpha is averaged over its units. The box spans the quartiles, the line is the median,
    whiskers reach to the 5th and 95th percentile.

    Args:
        alpha: Noise scale, ``[N, ...]``: the standard deviation of log eps, without unit.
        labels: Classes, [N].
        color: Colour of the boxes.
        ax: Axes to draw into; None: those of a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: If a shape is wrong.
    """
    values = as_array(alpha, "alpha", 1, 2, 3, 4)
    classes = _classes(labels, len(values))
    values = values.reshape(len(values), -1).mean(1)
    present = np.unique(classes)
    ax = axes_or_new(ax)
    ax.boxplot(
        [values[classes == c] for c in present],
        positions=range(len(present)),
        widths=0.6,
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": color, "edgecolor": GREY, "alpha": 0.8},
        medianprops={"color": ORANGE, "linewidth": 2},
        whiskerprops={"color": GREY},
        capprops={"color": GREY},
    )
    ax.set_xticks(range(len(present)), [str(c) for c in present])
    ax.set(xlabel="class", ylabel="noise scale α, mean over units [std of log ε]")
    ax.set_title(f"{len(values)} samples; box: quartiles, whiskers: 5 % to 95 %", fontsize="small")
    return ax


def _classes(labels: Tensor | ArrayLike, num_samples: int) -> np.ndarray:
    classes = as_array(labels, "labels", 1)
    if len(classes) != num_samples:
        raise ValueError(f"labels: {len(classes)} for {num_samples} samples")
    return classes
