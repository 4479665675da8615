"""What the paper's figures share: means with intervals, errors by method, and the axes of beta and size."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inference.studies.paper.methods import METHODS
from inference.studies.paper.statistics import interval, levels, sizes_in_words

__all__ = [
    "dodged",
    "draw_errors",
    "draw_means",
    "draw_panels",
    "intervals_in_words",
    "name_ticks",
    "new_figure",
    "write_heading",
]


# Of the small font, with room to spare.
_LETTERS_PER_INCH = 15


def new_figure(
    num_rows: int, num_columns: int, *, width: float, height: float, **options: Any
) -> tuple[Figure, Any]:
    """Make a figure and its Axes.

    Args:
        num_rows: Rows of Axes.
        num_columns: Columns of Axes.
        width: In inches.
        height: In inches.
        **options: Options of :func:`matplotlib.pyplot.subplots`.

    Returns:
        The figure, and what ``subplots`` returns for its Axes.
    """
    return plt.subplots(num_rows, num_columns, figsize=(width, height), layout="constrained", **options)


def write_heading(figure: Figure, text: str) -> None:
    """Write above a figure what it is of, in as many lines as its width asks for.

    Args:
        figure: The figure.
        text: The words; lines end after a semicolon where that is possible.
    """
    width = int(_LETTERS_PER_INCH * figure.get_figwidth())
    lines = [""]
    for clause in text.split("; "):
        joined = f"{lines[-1]}; {clause}" if lines[-1] else clause
        if len(joined) <= width:
            lines[-1] = joined
        else:
            lines[-1] += ";" if lines[-1] else ""
            lines += textwrap.wrap(clause, width)
    figure.suptitle("\n".join(line for line in lines if line), fontsize="small")


def dodged(positions: Sequence[float], shift: float) -> list[float]:
    """Move positions on a logarithmic axis by a share of its length, for error bars that would hide others.

    Args:
        positions: Positions, ascending; one alone has a decade for its axis.
        shift: Share of the axis between the first and the last.

    >>> [round(x, 3) for x in dodged([1, 10, 100], 0.01)]
    [1.047, 10.471, 104.713]
    >>> [round(x, 3) for x in dodged([5], 0.1)]
    [6.295]
    """
    length = positions[-1] / positions[0] if len(positions) > 1 else 10.0
    return [position * length**shift for position in positions]


def draw_means(
    ax: Axes, positions: Sequence[float], groups: Sequence[Sequence[float] | pd.Series], **style: Any
) -> None:
    """Draw the mean of each group, joined by a line; of groups of several values also its 95 % interval.

    Args:
        ax: Where to draw.
        positions: Place of each group on the horizontal axis.
        groups: A value a seed, for each position.
        **style: Options of ``matplotlib.axes.Axes.errorbar``.
    """
    means, halves = zip(*[interval(group) for group in groups], strict=True)
    # With none of the intervals there are no bars, in the legend neither.
    bars = None if np.isnan(halves).all() else halves
    ax.errorbar(positions, means, yerr=bars, **{"capsize": 3, "markersize": 5, "marker": "o", **style})


def intervals_in_words(rows: pd.DataFrame) -> str:
    """What a caption says of the bars of ``draw_means``: nothing where there is one seed."""
    return "; bars: 95 % intervals of the mean" if len(levels(rows, "seed")) > 1 else ""


def name_ticks(ax: Axes, values: Sequence[float], names: Sequence[str]) -> None:
    """Make the horizontal axis logarithmic, with a name at each value and no other ticks."""
    ax.set_xscale("log")
    ax.set_xticks(values, names)
    ax.minorticks_off()


def draw_errors(
    rows: pd.DataFrame, *, xlabel: str, size_name: Callable[[float], str], caption: str
) -> Figure:
    """Draw test errors against the size of the network, a line a method, without noise and with.

    Args:
        rows: A row for each method, size and seed.
        xlabel: What the size is.
        size_name: Name of a size below its tick.
        caption: What the heading says before the numbers of images and seeds: network and data.
    """
    panels = {
        "noise off (D)": (rows, "test_error_deterministic"),
        "one noise sample (N)": (rows, "test_error_noisy"),
    }
    return draw_panels(panels, xlabel=xlabel, size_name=size_name, caption=caption)


def draw_panels(
    panels: Mapping[str, tuple[pd.DataFrame, str]],
    *,
    xlabel: str,
    size_name: Callable[[float], str],
    caption: str,
) -> Figure:
    """Draw errors against the size of the network, a line a method, in panels that share their axes.

    Args:
        panels: Title to rows, a row for each method, size and seed, and the error's column.
        xlabel: What the size is.
        size_name: Name of a size below its tick.
        caption: What the heading says before the numbers of images and seeds: network and data.
    """
    figure, axes = new_figure(1, len(panels), width=1.5 + 4 * len(panels), height=4.6, sharey=True)
    for ax, (title, (rows, column)) in zip(axes, panels.items(), strict=True):
        sizes = levels(rows, "size")
        for place, method in enumerate(METHODS.values()):
            part = rows[rows["dropout"] == method.name]
            groups = {size: 100 * part[column][part["size"] == size] for size in sizes}
            # Of a study that is not done some fits may be missing.
            there = {size: group for size, group in groups.items() if len(group)}
            shift = 0.015 * (place - (len(METHODS) - 1) / 2)
            positions = dict(zip(sizes, dodged(sizes, shift), strict=True))
            style = {"linewidth": 1.2, **method.style}
            if there:
                draw_means(ax, [positions[size] for size in there], [*there.values()], **style)
        name_ticks(ax, sizes, [size_name(size) for size in sizes])
        ax.set(xlabel=xlabel, title=title)
    axes[0].set_ylabel("test error [%]")
    # Below, since the lines may be anywhere.
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize="small", loc="outside lower center", ncols=len(METHODS))
    first = next(iter(panels.values()))[0]
    write_heading(figure, f"{caption}; {sizes_in_words(first)}{intervals_in_words(first)}")
    return figure
