"""The picture of the wrong labels: test error over each method's strength, and what was chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inference.studies.demo.wrong_labels_table import Outcome

__all__ = ["draw_wrong_labels"]

_PANELS = {
    "information": ("information dropout", "β × N", "#0072B2"),
    "binary": ("binary dropout", "drop probability", "#D55E00"),
    "constant": ("constant noise", "α", "#009E73"),
    "early stopping": ("no dropout, stopped early", "epochs", "#555555"),
}

_TICKS = (5, 10, 20, 50, 100)


def draw_wrong_labels(found: Sequence[Outcome], path: Path) -> None:
    """Draw a panel a method, on one scale: test error with 95 % intervals, no dropout as a line, the choice ringed.

    Args:
        found: Every method at every strength.
        path: PNG to write.
    """
    figure = Figure(figsize=(10.0, 3.4), layout="constrained")
    there = {o.setting.dropout for o in found}
    shown = {method: panel for method, panel in _PANELS.items() if method in there}
    panels = figure.subplots(1, len(shown), sharey=True)
    for axes, (method, (title, label, colour)) in zip(panels, shown.items(), strict=True):
        _draw_method(axes, [o for o in found if o.setting.dropout == method], colour)
        _draw_level(axes, found)
        axes.set_title(title, fontsize="medium", color=colour)
        axes.set_xlabel(label)
        axes.set(yscale="log", ylim=(4.5, 110))
        axes.set_yticks(_TICKS, [str(tick) for tick in _TICKS])
        axes.minorticks_off()
        axes.grid(axis="y", color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("test error [%]")
    _explain(panels[0])
    figure.suptitle(
        f"Digits with 40 % of the training labels wrong: {found[0].seeds} seeds, bars are 95 % intervals",
        fontsize="medium",
    )
    figure.savefig(path, dpi=150)


def _draw_method(axes: Axes, found: Sequence[Outcome], colour: str) -> None:
    places = range(len(found))
    errors = [100 * o.test_error.value for o in found]
    halves = [0.0 if o.seeds == 1 else 100 * o.test_error.half_width for o in found]
    axes.errorbar(places, errors, yerr=halves, fmt="o-", color=colour, capsize=2, markersize=4)
    for place, outcome in zip(places, found, strict=True):
        if outcome.chosen:
            axes.plot(place, 100 * outcome.test_error.value, "o", ms=12, mfc="none", mec="black", mew=1.2)
    axes.set_xticks(places, [_strength(o.setting.value) for o in found], fontsize="small")
    axes.set_xlim(-0.5, len(found) - 0.5)


def _strength(value: float) -> str:
    return f"{value:g}" if value < 1e4 else f"$10^{round(math.log10(value))}$"


def _draw_level(axes: Axes, found: Sequence[Outcome]) -> None:
    for outcome in found:
        if outcome.setting.dropout == "none":
            axes.axhline(100 * outcome.test_error.value, color="0.3", linestyle=":", linewidth=1.2)


def _explain(axes: Axes) -> None:
    axes.plot([], [], ":", color="0.3", label="no dropout")
    axes.plot([], [], "o", ms=9, mfc="none", mec="black", label="chosen, held out")
    axes.legend(fontsize="small", loc="upper right", frameon=False)
