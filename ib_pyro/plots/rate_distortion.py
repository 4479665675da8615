"""Rate-distortion curve over beta, with intervals over seeds."""

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from scipy.stats import t as student_t
from torch import Tensor

from ib_pyro.choices import require_known
from ib_pyro.plots._axes import BLUE, as_array, axes_or_new

__all__ = ["plot_rate_distortion"]


def plot_rate_distortion(
    rate: Tensor | ArrayLike,
    distortion: Tensor | ArrayLike,
    *,
    beta: Tensor | ArrayLike | None = None,
    beta_unit: Literal["per-sample", "paper"] = "per-sample",
    confidence: float | None = None,
    label: str | None = None,
    color: str = BLUE,
    ax: Axes | None = None,
) -> Axes:
    """Draw distortion against rate, one point a beta.

    Points are means over seeds; the bars, one standard error s / sqrt(n) or a Student-t interval, are drawn
    in both directions. The legend says how many seeds there are, what the bars are and which beta the
    labels give.

    Args:
        rate: [betas] or [betas, seeds], nats per sample.
        distortion: As the rate, nats per sample.
        beta: Value written at each point, [betas]; points are joined in its order. None: no labels, joined
            by rate.
        beta_unit: What ``beta`` is: ``per-sample`` multiplies the rate in nats, ``paper`` is that times the
            number of training samples.
        confidence: Level of the interval of the mean, such as 0.95; None: one standard error.
        label: Name of the curve in the legend.
        color: Colour of the curve.
        ax: Axes to draw into; None: those of a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: If shapes differ or an option is out of range.
    """
    r, d = as_array(rate, "rate", 1, 2), as_array(distortion, "distortion", 1, 2)
    if r.shape != d.shape:
        raise ValueError(f"rate, distortion: shapes {list(r.shape)} and {list(d.shape)} differ")
    b = None if beta is None else as_array(beta, "beta", 1)
    if b is not None and len(b) != len(r):
        raise ValueError(f"beta: {len(b)} values for {len(r)} points")
    require_known("beta_unit:", beta_unit, ("per-sample", "paper"))
    r, d = r.reshape(len(r), -1), d.reshape(len(d), -1)
    order = np.argsort(r.mean(1) if b is None else b)
    x, y = r.mean(1)[order], d.mean(1)[order]
    ax = axes_or_new(ax)
    ax.errorbar(
        x,
        y,
        xerr=_half_width(r, confidence)[order],
        yerr=_half_width(d, confidence)[order],
        fmt="o-",
        color=color,
        capsize=2,
        linewidth=1,
        markersize=4,
        label=_legend(label, r.shape[1], confidence, None if b is None else beta_unit),
    )
    for i, value in enumerate([] if b is None else b[order]):
        ax.annotate(
            f"{value:.3g}", (x[i], y[i]), (5, 5), textcoords="offset points", fontsize="small", color=color
        )
    ax.set_xlabel("rate [nats per sample]")
    ax.set_ylabel("distortion [nats per sample]")
    ax.legend(fontsize="small")
    return ax


def _half_width(values: np.ndarray, confidence: float | None) -> np.ndarray:
    """Half the interval of the mean over the last dimension; zeros for one seed."""
    if confidence is not None and not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence}, must be between 0 and 1")
    n = values.shape[1]
    if n == 1:
        return np.zeros(len(values))
    factor = 1.0 if confidence is None else student_t.ppf(0.5 + confidence / 2, n - 1)
    return factor * values.std(1, ddof=1) / np.sqrt(n)


def _legend(label: str | None, seeds: int, confidence: float | None, beta_unit: str | None) -> str:
    interval = " ± standard error" if confidence is None else f", {100 * confidence:g} % interval"
    parts = ["1 seed" if seeds == 1 else f"mean of {seeds} seeds{interval}"]
    if beta_unit is not None:
        parts.append({"per-sample": "labels: β per sample", "paper": "labels: β × N (paper)"}[beta_unit])
    return (f"{label}: " if label else "") + "; ".join(parts)
