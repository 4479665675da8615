"""How a fit went: loss, distortion and rate over its epochs, of the training set and of the held-out one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ib_pyro.choices import require_known
from ib_pyro.plots._axes import BLACK, BLUE, GREY, VERMILION, as_numbers
from ib_pyro.training.fit_result import FitResult

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

__all__ = ["plot_training"]

Panel = Literal["loss", "distortion", "rate", "error"]
"""What a panel shows."""


class _Line(NamedTuple):
    """A column as a line: what it is called, how it looks, what its values are multiplied by."""

    column: str
    label: str
    color: str
    style: str = "-"
    factor: float = 1.0


_LINES = {
    "loss": (
        _Line("loss", "minimised", BLUE),
        # Where schedules move the weights it is this that the held-out loss compares with.
        _Line("lagrangian", "at the target weights", BLUE, ":"),
        _Line("validation_loss", "held out", VERMILION),
    ),
    "distortion": (
        _Line("distortion", "training", BLUE),
        _Line("validation_distortion", "held out", VERMILION),
    ),
    "rate": (_Line("rate", "training", BLUE), _Line("validation_rate", "held out", VERMILION)),
    "error": (
        _Line("train_error", "training", BLUE, factor=100.0),
        _Line("validation_error", "held out", VERMILION, factor=100.0),
    ),
}
# Sites are told apart by their dashes: their number is not known, and colours stand for the sets.
_DASHES = ("--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (3, 3)))


def plot_training(
    history: pd.DataFrame | FitResult,
    *,
    panels: Sequence[Panel] = ("loss", "distortion", "rate"),
    kept_epoch: int | None = None,
    axes: Sequence[Axes] | None = None,
) -> list[Axes]:
    """Draw the history of a fit over its epochs, a panel a quantity.

    What is drawn is what the table has: the training set under noise and while the parameters moved, which is why its
    loss may lie above the held-out one at first; the held-out set, if there was one; and, where there are several
    noisy sites, the rate of each in grey. A line goes through the epochs that have a value, as those with
    validation, and the legend says how many have.

    Args:
        history: What :func:`ib_pyro.fit` returned, or a row an epoch, as its ``history`` or the ``metrics.csv`` of a
            run has it, read by pandas. NaN is missing.
        panels: What to show: ``loss``, ``distortion`` and ``rate`` in nats per sample, ``error`` in percent.
        kept_epoch: Epoch to mark: the one whose parameters were kept; by default that of a fit with a validation set.
        axes: Axes to draw into, one a panel; None: those of a new figure, side by side.

    Returns:
        The Axes, one a panel.

    Raises:
        ValueError: If the table is empty, lacks a column or has an epoch twice, a value is infinite, a panel is not
            known, or Axes and panels differ in number.
    """
    if isinstance(history, FitResult):
        if kept_epoch is None and history.best_epoch is not None:
            kept_epoch = history.kept_epoch
        history = history.history
    for panel in panels:
        require_known("panels=", panel, tuple(_LINES))
    _check(history, panels)
    lines = [_values_of_lines(history, panel) for panel in panels]
    drawn = _axes_or_new(axes, len(panels))
    epochs = _numbers(history, "epoch")
    for ax, panel, lines_of_panel in zip(drawn, panels, lines, strict=True):
        _draw_panel(ax, epochs, lines_of_panel)
        if kept_epoch is not None:
            ax.axvline(kept_epoch, color=BLACK, linestyle=":", linewidth=1, label=f"kept: epoch {kept_epoch}")
        ax.set(xlabel="epoch", ylabel=f"{panel} [{'%' if panel == 'error' else 'nats per sample'}]")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.legend(fontsize="small")
    return drawn


def _check(history: pd.DataFrame, panels: Sequence[str]) -> None:
    if len(panels) == 0:
        raise ValueError(f"panels: empty; name some of {', '.join(_LINES)}")
    if len(history) == 0:
        raise ValueError("history: a table without rows; fit for an epoch first")
    for column in ("epoch", *(_LINES[panel][0].column for panel in panels)):
        if column not in history:
            raise ValueError(
                f"history: no column {column!r}, only {list(history.columns)}; pass the `history` of a fit's result, "
                "or leave the panel out"
            )

    epochs = as_numbers(history["epoch"], "history['epoch']", 1)
    values, counts = np.unique(epochs, return_counts=True)
    if counts.max() > 1:
        raise ValueError(
            f"history: epoch {values[counts.argmax()]:g} stands in {counts.max()} rows; pass the rows of one run, as "
            "history[history['run'] == name]"
        )


def _numbers(history: pd.DataFrame, column: str) -> np.ndarray:
    """A column, NaN where it has no value."""
    if history[column].isna().all():
        return np.full(len(history), np.nan)
    return as_numbers(history[column], f"history[{column!r}]", 1, missing=True)


def _axes_or_new(axes: Sequence[Axes] | None, num_panels: int) -> list[Axes]:
    if axes is None:
        # Here and not at the top: choosing a backend is left to whoever asks for a figure.
        import matplotlib.pyplot as plt

        size = (3.6 * num_panels, 3.2)
        return list(plt.subplots(1, num_panels, figsize=size, layout="constrained", squeeze=False)[1][0])
    given = list(axes)
    if len(given) != num_panels:
        raise ValueError(f"axes: {len(given)} for {num_panels} panels; give one a panel")
    return given


def _values_of_lines(history: pd.DataFrame, panel: str) -> list[tuple[_Line, np.ndarray]]:
    """The lines of a panel that the table has a value of, and their values, NaN where there is none."""
    lines = [line for line in _LINES[panel] if line.column in history]
    if panel == "rate":
        sites = [column for column in history if str(column).startswith("rate/")]
        # Of a single site it is the rate itself.
        lines += [
            _Line(str(site), f"training, {str(site).removeprefix('rate/')}", GREY)
            for site in sites
            if len(sites) > 1
        ]
    return [(line, _numbers(history, line.column)) for line in lines]


def _draw_panel(ax: Axes, epochs: np.ndarray, lines: Sequence[tuple[_Line, np.ndarray]]) -> None:
    dashes = 0
    for line, values in lines:
        style: object = line.style
        if line.column.startswith("rate/"):
            style, dashes = _DASHES[dashes % len(_DASHES)], dashes + 1
        found = ~np.isnan(values)
        some = "" if found.all() else f", {found.sum()} of {len(found)} epochs"
        ax.plot(
            epochs[found],
            line.factor * values[found],
            color=line.color,
            linestyle=style,
            marker=".",
            label=line.label + some,
        )
