"""A run's path through the information plane."""

import numpy as np
from matplotlib.axes import Axes

from ib_pyro.diagnostics import InformationPlane
from ib_pyro.plots._axes import BLACK, GREY, SEQUENTIAL, as_numbers, axes_or_new

__all__ = ["plot_information_plane"]


def plot_information_plane(
    plane: InformationPlane, *, step_label: str = "epoch", colorbar: bool = True, ax: Axes | None = None
) -> Axes:
    """Draw the lower bound of I(z; y) against the upper bound of I(x; z), coloured by step.

    The dashed line is H(y), which no I(z; y) exceeds. The rate bounds I(x; z) for a normalised prior only,
    and the axis says so. The path goes through the steps that have both bounds; the title counts the others, as those
    without validation.

    Args:
        plane: The run, from ``ib_pyro.diagnostics.information_plane``, nats per sample. NaN is missing.
        step_label: What a step is.
        colorbar: Whether to add the colour bar of the steps; switch it off when several runs share Axes.
        ax: Axes to draw into; None: those of a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: If the run is empty, its parts differ in length, a bound is infinite or no step has both, or H(y)
            is not finite.
    """
    entropy = as_numbers([plane.label_entropy], "label_entropy", 1)[0]
    step = as_numbers(plane.step, "step", 1)
    x, y = (as_numbers(v, n, 1, missing=True) for n, v in (("i_xz", plane.i_xz), ("i_zy", plane.i_zy)))
    if not len(step) == len(x) == len(y):
        raise ValueError(f"step, i_xz, i_zy: {len(step)}, {len(x)} and {len(y)} values, must be as many")
    found = ~(np.isnan(x) | np.isnan(y))
    if not found.any():
        raise ValueError(f"i_xz, i_zy: none of {len(step)} steps has both, there is nothing to draw")
    missing = int((~found).sum())
    step, x, y = step[found], x[found], y[found]
    ax = axes_or_new(ax)
    ax.axhline(entropy, color=BLACK, linestyle="--", linewidth=1, label="H(y)")
    ax.plot(x, y, color=GREY, linewidth=0.8, zorder=1)
    points = ax.scatter(x, y, c=step, cmap=SEQUENTIAL, s=20, zorder=2)
    if colorbar:
        # A single step is a tick of its own: around it the bar would count what there is not.
        ax.figure.colorbar(points, ax=ax, label=step_label, ticks=step if len(step) == 1 else None)
    ax.set_xlabel("rate ≥ I(x; z) if the prior is normalised [nats per sample]")
    ax.set_ylabel("H(y) − distortion ≤ I(z; y) [nats per sample]")
    ax.legend(fontsize="small")
    if missing:
        ax.set_title(f"{missing} of {len(found)} steps without a value", fontsize="small")
    return ax
