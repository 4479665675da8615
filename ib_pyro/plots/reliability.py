"""Reliability diagram: accuracy against confidence."""

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import binomtest

from ib_pyro.diagnostics import ReliabilityBins
from ib_pyro.plots._axes import BLACK, BLUE, as_array, as_numbers, axes_or_new

__all__ = ["plot_reliability"]


def plot_reliability(bins: ReliabilityBins, *, color: str = BLUE, ax: Axes | None = None) -> Axes:
    """Draw the accuracy of each bin of confidence, with its interval, beside the diagonal of calibration.

    Points stand at each bin's mean confidence; bars are 95 % Wilson intervals, wide where a bin holds few
    samples.

    Args:
        bins: From ``ib_pyro.diagnostics.reliability_bins``.
        color: Colour of bars and points.
        ax: Axes to draw into; None: those of a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: If no bin has a sample, or one that has some lacks a finite confidence or accuracy.
    """
    count = as_numbers(bins.count, "count", 1).astype(np.int64)
    filled = count > 0
    if not filled.any():
        raise ValueError(f"count: no sample in any of {len(count)} bins, there is nothing to draw")
    n, edges = count[filled], as_numbers(bins.edges, "edges", 1)
    # An empty bin has neither confidence nor accuracy.
    x, y = (
        as_numbers(as_array(each, name, 1)[filled], name, 1)
        for each, name in ((bins.confidence, "confidence"), (bins.accuracy, "accuracy"))
    )
    right = np.rint(y * n).astype(int)
    intervals = [
        binomtest(int(k), int(m)).proportion_ci(method="wilson") for k, m in zip(right, n, strict=True)
    ]
    error = np.abs([[a - i.low, i.high - a] for a, i in zip(y, intervals, strict=True)]).T
    ax = axes_or_new(ax)
    ax.plot([0, 1], [0, 1], color=BLACK, linestyle="--", linewidth=1, label="calibrated")
    ax.bar(
        edges[:-1][filled],
        y,
        np.diff(edges)[filled],
        align="edge",
        color=color,
        alpha=0.35,
        edgecolor="white",
    )
    ax.errorbar(
        x, y, yerr=error, fmt="o", color=color, capsize=2, markersize=4, label="accuracy, 95 % interval"
    )
    ece = float(bins.expected_calibration_error)
    ax.set_title(f"ECE {ece:.3f}; {count.sum()} samples, {len(count)} bins", fontsize="small")
    ax.set(xlabel="confidence [probability]", ylabel="accuracy [share right]", xlim=(0, 1), ylim=(0, 1))
    ax.set_aspect("equal")
    ax.legend(fontsize="small", loc="upper left")
    return ax
