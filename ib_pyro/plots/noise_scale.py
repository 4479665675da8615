"""The learned noise: a heat map by sample and unit, and its distribution by class."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from torch import Tensor

from ib_pyro.plots._axes import (
    BLUE,
    GREY,
    ORANGE,
    as_array,
    as_numbers,
    axes_or_new,
    beyond,
    sequential_or_grey,
)

__all__ = ["plot_alpha_by_class", "plot_noise"]


def plot_noise(
    alpha: Tensor | ArrayLike,
    *,
    labels: Tensor | ArrayLike | None = None,
    alpha_max: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the noise scale of every sample and unit as a heat map.

    Values that are missing, as those of units that are off may be, are grey, and the title counts them.

    Args:
        alpha: Noise scale, [N, units]: the standard deviation of log eps, without unit. NaN is missing.
        labels: Classes, [N]; samples are then sorted by class, and the vertical axis shows classes.
        alpha_max: Upper end of the colours; default: the largest value. The colour bar has an arrow where values lie
            beyond it.
        ax: Axes to draw into; None: those of a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: If a shape is wrong, a value is negative or infinite, all are missing, or ``alpha_max`` is not
            positive.
    """
    values = _scales(alpha, 2)
    if alpha_max is not None and not 0 < alpha_max < np.inf:
        raise ValueError(f"alpha_max: {alpha_max}, must be a number > 0")
    if labels is not None:
        classes = _classes(labels, len(values))
        values = values[np.argsort(classes, kind="stable")]
    # Where there is no noise at all the colours have a scale too.
    top = (np.nanmax(values) or 1.0) if alpha_max is None else alpha_max
    ax = axes_or_new(ax)
    image = ax.imshow(
        values, aspect="auto", cmap=sequential_or_grey(), vmin=0, vmax=top, interpolation="nearest"
    )
    ax.figure.colorbar(
        image, ax=ax, label="noise scale α [std of log ε]", extend=beyond(values, None, alpha_max)
    )
    missing = int(np.isnan(values).sum())
    if missing:
        ax.set_title(f"{missing} of {values.size} values missing (grey)", fontsize="small")
    ax.set(xlabel="unit", ylabel="sample" if labels is None else "class (samples sorted by it)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
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

    Each sample's alpha is averaged over its units, those without a value left out. The box spans the quartiles, the
    line is the median, whiskers reach to the 5th and 95th percentile. The title counts what is missing.

    Args:
        alpha: Noise scale, ``[N, ...]``: the standard deviation of log eps, without unit. NaN is missing, as alpha of
            units that are off may be.
        labels: Classes, [N].
        color: Colour of the boxes.
        ax: Axes to draw into; None: those of a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: If a shape is wrong, a value is negative or infinite, or all are missing.
    """
    values = _scales(alpha, 1, 2, 3, 4)
    classes = _classes(labels, len(values))
    means = _means_over_units(values)
    has_mean = ~np.isnan(means)
    present = np.unique(classes)
    drawn = [means[(classes == c) & has_mean] for c in present]
    ax = axes_or_new(ax)
    ax.boxplot(
        drawn,
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
    names = [f"{c}" if len(box) else f"{c}\n(no value)" for c, box in zip(present, drawn, strict=True)]
    ax.set_xticks(range(len(present)), names)
    ax.set(xlabel="class", ylabel="noise scale α, mean over units [std of log ε]")
    number = int(has_mean.sum())
    title = f"{number} sample{'s' * (number != 1)}; box: quartiles, whiskers: 5 % to 95 %"
    missing = int(np.isnan(values).sum())
    if missing:
        title += f"\n{missing} of {values.size} values missing"
        title += f", and so {len(values) - number} of {len(values)} samples" if number < len(values) else ""
    ax.set_title(title, fontsize="small")
    return ax


def _scales(alpha: Tensor | ArrayLike, *ndim: int) -> np.ndarray:
    values = as_numbers(alpha, "alpha", *ndim, missing=True)
    if np.nanmin(values) < 0:
        raise ValueError(f"alpha: {np.nanmin(values):.4g} is no standard deviation; pass values >= 0")
    return values


def _means_over_units(values: np.ndarray) -> np.ndarray:
    """Mean over the units of a sample that have a value, [N]; NaN where none has."""
    by_unit = values.reshape(len(values), -1)
    count = (~np.isnan(by_unit)).sum(1)
    return np.where(count > 0, np.nansum(by_unit, 1) / np.maximum(count, 1), np.nan)


def _classes(labels: Tensor | ArrayLike, num_samples: int) -> np.ndarray:
    classes = as_array(labels, "labels", 1)
    if len(classes) != num_samples:
        raise ValueError(f"labels: {len(classes)} for {num_samples} samples")
    if classes.dtype.kind == "f":
        as_numbers(classes, "labels", 1)
    return classes
