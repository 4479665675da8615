"""Histogram of a layer's activations after the noise, against their prior."""

from collections.abc import Callable

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from scipy.integrate import trapezoid
from torch import Tensor

from ib_pyro.plots._axes import BLUE, VERMILION, axes_or_new

__all__ = ["plot_post_noise"]


def plot_post_noise(
    samples: Tensor,
    log_density: Callable[[Tensor], Tensor],
    *,
    prior_atom: float | None = None,
    rescale: bool = False,
    bins: int = 60,
    ax: Axes | None = None,
) -> Axes:
    """Draw the distribution of z = f(x) * eps over log z, with the prior's as a line.

    The density of log z is z p(z), so that the log-uniform prior c / z is a flat line. Exact zeros, which
    have no logarithm, are a bar of width 1 at the left: as everywhere in the histogram its *area* is its
    probability, hence so is its height.

    Args:
        samples: Activations after the noise, any shape, all >= 0.
        log_density: log q(z) of the prior for a vector of z > 0, nats, as ``prior.log_prob`` of a scalar
            prior.
        prior_atom: The prior's probability of z = 0 (the gate), drawn as a line on the bar. None: it has
            none.
        rescale: Scale the prior to the samples' share of z > 0 over the range shown. An improper prior has
            no scale of its own: its shape is what can be compared. The legend says so.
        bins: Bins of the histogram.
        ax: Axes to draw into; None: those of a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: If samples are negative, not finite or all 0, an option is out of range, or the prior's density is
            not one finite number for each z.
    """
    if bins < 1 or (prior_atom is not None and not 0 <= prior_atom <= 1):
        raise ValueError(f"bins, prior_atom: {bins}, {prior_atom}; need bins >= 1 and an atom in [0, 1]")
    log_z, zeros = _split(samples)
    density, edges = np.histogram(log_z, bins=bins, density=True)
    grid = torch.linspace(float(edges[0]), float(edges[-1]), 400, dtype=torch.float64)
    # Of counts and of half precision the grid would be rounded, and its densities those of other z.
    z = grid.exp().to(samples.device, torch.promote_types(samples.dtype, torch.float32))
    prior = _density_of_log(grid, log_density(z))
    if rescale:
        mass = trapezoid(prior, grid.numpy())
        if not mass > 0:
            raise ValueError(
                f"rescale: the prior has no mass between the samples' log z = {grid[0]:.3g} and {grid[-1]:.3g}; "
                "draw it without"
            )
        prior = prior * (1 - zeros) / mass
    ax = axes_or_new(ax)
    ax.stairs(
        density * (1 - zeros), edges, fill=True, color=BLUE, alpha=0.6, label=f"{samples.numel()} activations"
    )
    name = "prior, z > 0 scaled to the range shown" if rescale else "prior"
    ax.plot(grid.numpy(), prior, color=VERMILION, label=name)
    if zeros > 0 or prior_atom is not None:
        _draw_atom(ax, edges, zeros, prior_atom)
    ax.set(xlabel="log z", ylabel="probability per unit of log z", ylim=(0, None))
    ax.legend(fontsize="small")
    return ax


def _density_of_log(grid: Tensor, log_density: Tensor) -> np.ndarray:
    """The density of log z on a grid of log z, z p(z)."""
    if log_density.shape not in (grid.shape, ()):
        raise ValueError(
            f"log_density: shape {list(log_density.shape)} for {list(grid.shape)} values of z; pass the density of a "
            "scalar prior, as that of one unit"
        )
    found = (log_density.detach().cpu().double() + grid).exp()
    # Outside of its support the prior's density is 0.
    wrong = ~torch.isfinite(found)
    if wrong.any():
        raise ValueError(
            f"log_density: the density is {found[wrong][0]:g} at z = {grid[wrong][0].exp():.4g}, among "
            f"{int(wrong.sum())} of {len(grid)} values of z between the smallest sample > 0 and the largest"
        )
    return found.numpy()


def _split(samples: Tensor) -> tuple[np.ndarray, float]:
    """Logarithms of the positive samples, and the share of zeros."""
    z = samples.detach().flatten().cpu().double()
    if z.numel() == 0 or not bool((torch.isfinite(z) & (z >= 0)).all()):
        raise ValueError(f"samples: need finite values >= 0 and at least one, got {list(samples.shape)}")
    positive = z[z > 0]
    if positive.numel() == 0:
        raise ValueError(f"samples: all {z.numel()} are 0: the layer is dead, there is nothing to draw")
    return positive.log().numpy(), 1 - positive.numel() / z.numel()


def _draw_atom(ax: Axes, edges: np.ndarray, zeros: float, prior_atom: float | None) -> None:
    low, high = float(edges[0]), float(edges[-1])
    centre = low - 0.05 * (high - low) - 0.5
    ax.bar(centre, zeros, width=1.0, color=BLUE, alpha=0.6, edgecolor=BLUE)
    if prior_atom is not None:
        ax.hlines(prior_atom, centre - 0.5, centre + 0.5, color=VERMILION)
    ax.annotate(
        f"{zeros:.3g}", (centre, zeros), (0, 2), textcoords="offset points", ha="center", fontsize="small"
    )
    ticks = [t for t in MaxNLocator(6).tick_values(low, high) if low <= t <= high]
    ax.set_xticks([centre, *ticks], ["z = 0", *(f"{t:g}" for t in ticks)])
