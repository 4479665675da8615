"""A run's path through the information plane."""

from matplotlib.axes import Axes

from ib_pyro.diagnostics import InformationPlane
from ib_pyro.plots._axes import BLACK, GREY, SEQUENTIAL, as_array, axes_or_new

__all__ = ["plot_information_plane"]


def plot_information_plane(
    plane: InformationPlane, *, step_label: str = "epoch", colorbar: bool = True, ax: Axes | None = None
) -> Axes:
    """Draw the lower bound of I(z; y) against the upper bound of I(x; z), coloured by step.

    The dashed line is H(y), which no I(z; y) exceeds. The rate bounds I(x; z) for a normalised prior only,
    and the axis says so.

    Args:
        plane: The run, from ``ib_pyro.diagnostics.information_plane``, nats per sample.
        step_label: What a step is.
        colorbar: Whether to add the colour bar of the steps; switch it off when several runs share Axes.
        ax: Axes to draw into; None: those of a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: If the run is empty.
    """
    step, x, y = (
        as_array(v, n, 1) for n, v in (("step", plane.step), ("i_xz", plane.i_xz), ("i_zy", plane.i_zy))
    )
    ax = axes_or_new(ax)
    ax.axhline(plane.label_entropy, color=BLACK, linestyle="--", linewidth=1, label="H(y)")
    ax.plot(x, y, color=GREY, linewidth=0.8, zorder=1)
    points = ax.scatter(x, y, c=step, cmap=SEQUENTIAL, s=20, zorder=2)
    if colorbar:
        ax.figure.colorbar(points, ax=ax, label=step_label)
    ax.set_xlabel("rate ≥ I(x; z) if the prior is normalised [nats per sample]")
    ax.set_ylabel("H(y) − distortion ≤ I(z; y) [nats per sample]")
    ax.legend(fontsize="small")
    return ax
