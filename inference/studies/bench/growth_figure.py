"""The picture of how a step grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, ScalarFormatter

from ib_pyro.files import written_whole
from inference.studies.bench.growth import Curve, Growth

__all__ = ["draw_growth"]

COLOURS = {"captured": "tab:blue", "by hand": "tab:orange", "side by side": "tab:green"}
COSTS = ("milliseconds a step", "peak memory, MiB")


def draw_growth(growth: Sequence[Growth], path: Path) -> None:
    """Draw time and peak memory against each axis, both logarithmic, beside a line proportional to the work.

    Args:
        growth: What was measured, a column each.
        path: The PNG to write.
    """
    figure = Figure(figsize=(2.6 * len(growth), 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(COSTS), len(growth), squeeze=False, sharex="col", sharey="row")
    for column, each in enumerate(growth):
        for row, cost in enumerate(COSTS):
            _draw(rows[row, column], each, cost)
        rows[-1, column].set_xlabel(each.axis)
    for row, cost in enumerate(COSTS):
        rows[row, 0].set_ylabel(cost)
    shown = {line.get_label(): line for axes in rows.flat for line in axes.get_lines()}
    figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=len(shown), frameon=False)
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def _draw(axes: Axes, each: Growth, cost: str) -> None:
    last = [_costs(curve, cost)[-1] for curve in each.curves.values()]
    line = [last[0] * work / each.work[-1] for work in each.work]
    for way, curve in each.curves.items():
        axes.plot(each.values, _costs(curve, cost), "o-", markersize=3, color=COLOURS[way], label=way)
    # Below the costs themselves, the line would stretch the axis.
    least = 0.5 * min(min(_costs(curve, cost)) for curve in each.curves.values())
    visible = [(value, height) for value, height in zip(each.values, line, strict=True) if height > least]
    axes.plot(*zip(*visible, strict=True), ":", color="grey", label="proportional to the work")
    axes.set(xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    ticks = each.values if len(each.values) <= 6 else each.values[::2]
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelsize=8)


def _costs(curve: Curve, cost: str) -> list[float]:
    return (
        [1e3 * each for each in curve.seconds] if cost == COSTS[0] else [each / 2**20 for each in curve.bytes]
    )
