"""Rate-distortion curve over beta, with intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from torch import Tensor

from ib_pyro.choices import require_known
from ib_pyro.plots._axes import BLUE, axes_or_new
from ib_pyro.plots._curve_points import points_of_arrays, points_of_table

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

__all__ = ["plot_rate_distortion"]


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
    in both directions. The legend says how many seeds there are, what the bars are, which beta the labels give,
    and which runs are left out: those that have diverged, or whose rate or distortion is not finite.

    Args:
        rate: [betas] of one seed, or [betas, seeds], nats per sample; or a table with columns ``beta``, ``rate`` and
            ``distortion``: a row for each run, as :func:`ib_pyro.sweep` returns, or one for each beta, with means over
            ``seeds`` and their bars, as :func:`ib_pyro.side_by_side.curve` returns, and :func:`ib_pyro.choose_beta` by
            the knee has in its table.
        distortion: As the rate, nats per sample; None with a table.
        beta: Value written at each point, [betas]; points are joined in its order. None: no labels, joined
            by rate; of a table its own.
        beta_unit: What ``beta`` is: ``per-sample`` multiplies the rate in nats, ``paper`` is that times the
            number of training samples.
        confidence: Level of the interval of the mean, such as 0.95; None: one standard error, or the interval that a
            table of means has.
        label: Name of the curve in the legend.
        color: Colour of the curve.
        ax: Axes to draw into; None: those of a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: If shapes differ, an option is out of range, a table lacks a column, has a beta that is no number,
            runs of one beta and one seed, or intervals of another level, or there is no run to draw.
    """
    require_known("beta_unit:", beta_unit, ("per-sample", "paper"))
    if confidence is not None and not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence}, must be between 0 and 1")
    if distortion is None:
        curve = points_of_table(_as_table(rate, beta), confidence)
    else:
        curve = points_of_arrays(rate, distortion, beta, confidence)
    order = np.argsort(curve.rate if curve.beta is None else curve.beta)
    x, y = curve.rate[order], curve.distortion[order]
    ax = axes_or_new(ax)
    ax.errorbar(
        x,
        y,
        xerr=curve.rate_bars[:, order],
        yerr=curve.distortion_bars[:, order],
        fmt="o-",
        color=color,
        capsize=2,
        linewidth=1,
        markersize=4,
        label=_legend(label, curve.said, None if curve.beta is None else beta_unit),
    )
    for i, value in enumerate([] if curve.beta is None else curve.beta[order]):
        ax.annotate(
            f"{value:.3g}", (x[i], y[i]), (5, 5), textcoords="offset points", fontsize="small", color=color
        )
    ax.set_xlabel("rate [nats per sample]")
    ax.set_ylabel("distortion [nats per sample]")
    ax.legend(fontsize="small")
    return ax


def _as_table(table: object, beta: object | None) -> pd.DataFrame:
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        raise ValueError("distortion is missing; pass it beside the rate, or a table with both as columns")
    if beta is not None:
        raise ValueError(
            "beta: a table has its own; pass rate, distortion and beta as arrays to label them otherwise"
        )
    return table


def _legend(label: str | None, said: Sequence[str], beta_unit: str | None) -> str:
    of_labels = {None: [], "per-sample": ["labels: β per sample"], "paper": ["labels: β × N (paper)"]}[
        beta_unit
    ]
    first, *left_out = said
    lines = ["; ".join([first, *of_labels]), *left_out]
    return (f"{label}: " if label else "") + "\n".join(lines)
