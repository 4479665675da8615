"""Rate-distortion curve over beta, with intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from scipy.stats import t as student_t
from torch import Tensor

from ib_pyro.choices import require_known
from ib_pyro.plots._axes import BLUE, as_array, axes_or_new

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

__all__ = ["plot_rate_distortion"]


class _Curve(NamedTuple):
    """The values of each point, [seeds], and the beta of each, or None."""

    rate: list[np.ndarray]
    distortion: list[np.ndarray]
    beta: np.ndarray | None


def plot_rate_distortion(
    rate: Tensor | ArrayLike | pd.DataFrame,
    distortion: Tensor | ArrayLike | None = None,
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
        rate: [betas] or [betas, seeds], nats per sample; or a table with a row for each run and columns ``beta``,
            ``rate`` and ``distortion``, as :func:`ib_pyro.sweep` returns, whose runs that have ``diverged`` are left
            out.
        distortion: As the rate, nats per sample; None with a table.
        beta: Value written at each point, [betas]; points are joined in its order. None: no labels, joined
            by rate; of a table its own.
        beta_unit: What ``beta`` is: ``per-sample`` multiplies the rate in nats, ``paper`` is that times the
            number of training samples.
        confidence: Level of the interval of the mean, such as 0.95; None: one standard error.
        label: Name of the curve in the legend.
        color: Colour of the curve.
        ax: Axes to draw into; None: those of a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: If shapes differ, an option is out of range, or a table lacks a column or has no run to draw.
    """
    curve = _of_table(rate, beta) if distortion is None else _of_arrays(rate, distortion, beta)
    require_known("beta_unit:", beta_unit, ("per-sample", "paper"))
    means = [np.array([values.mean() for values in of]) for of in (curve.rate, curve.distortion)]
    order = np.argsort(means[0] if curve.beta is None else curve.beta)
    x, y = means[0][order], means[1][order]
    ax = axes_or_new(ax)
    ax.errorbar(
        x,
        y,
        xerr=_half_widths(curve.rate, confidence)[order],
        yerr=_half_widths(curve.distortion, confidence)[order],
        fmt="o-",
        color=color,
        capsize=2,
        linewidth=1,
        markersize=4,
        label=_legend(
            label, [len(v) for v in curve.rate], confidence, None if curve.beta is None else beta_unit
        ),
    )
    for i, value in enumerate([] if curve.beta is None else curve.beta[order]):
        ax.annotate(
            f"{value:.3g}", (x[i], y[i]), (5, 5), textcoords="offset points", fontsize="small", color=color
        )
    ax.set_xlabel("rate [nats per sample]")
    ax.set_ylabel("distortion [nats per sample]")
    ax.legend(fontsize="small")
    return ax


def _of_arrays(
    rate: Tensor | ArrayLike, distortion: Tensor | ArrayLike, beta: Tensor | ArrayLike | None
) -> _Curve:
    r, d = as_array(rate, "rate", 1, 2), as_array(distortion, "distortion", 1, 2)
    if r.shape != d.shape:
        raise ValueError(f"rate, distortion: shapes {list(r.shape)} and {list(d.shape)} differ")
    b = None if beta is None else as_array(beta, "beta", 1)
    if b is not None and len(b) != len(r):
        raise ValueError(f"beta: {len(b)} values for {len(r)} points")
    return _Curve(list(r.reshape(len(r), -1)), list(d.reshape(len(d), -1)), b)


def _of_table(table: object, beta: object | None) -> _Curve:
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        raise ValueError("distortion is missing; pass it beside the rate, or a table with both as columns")
    if beta is not None:
        raise ValueError(
            "beta: a table has its own; pass rate, distortion and beta as arrays to label them otherwise"
        )
    missing = [name for name in ("beta", "rate", "distortion") if name not in table]
    if missing:
        raise ValueError(f"the table has no column {missing[0]!r}; its columns are {list(table.columns)}")
    sound = table[~table["diverged"].astype(bool)] if "diverged" in table else table
    if sound.empty:
        raise ValueError(f"the table has no run to draw: {len(table)} rows, and all have diverged")
    groups = [group for _, group in sound.groupby("beta", sort=True)]
    rates, distortions = (
        [as_array(group[name], name, 1) for group in groups] for name in ("rate", "distortion")
    )
    return _Curve(rates, distortions, np.array([group["beta"].iloc[0] for group in groups]))


def _half_widths(points: Sequence[np.ndarray], confidence: float | None) -> np.ndarray:
    """Half the interval of each point's mean; zero for one seed."""
    if confidence is not None and not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence}, must be between 0 and 1")
    return np.array([_half_width(values, confidence) for values in points])


def _half_width(values: np.ndarray, confidence: float | None) -> float:
    n = len(values)
    if n == 1:
        return 0.0
    factor = 1.0 if confidence is None else student_t.ppf(0.5 + confidence / 2, n - 1)
    return float(factor * values.std(ddof=1) / np.sqrt(n))


def _legend(label: str | None, seeds: list[int], confidence: float | None, beta_unit: str | None) -> str:
    interval = " ± standard error" if confidence is None else f", {100 * confidence:g} % interval"
    number = f"{min(seeds)} to {max(seeds)}" if min(seeds) < max(seeds) else f"{seeds[0]}"
    parts = ["1 seed" if max(seeds) == 1 else f"mean of {number} seeds{interval}"]
    if beta_unit is not None:
        parts.append({"per-sample": "labels: β per sample", "paper": "labels: β × N (paper)"}[beta_unit])
    return (f"{label}: " if label else "") + "; ".join(parts)
