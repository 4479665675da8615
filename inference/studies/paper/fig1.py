"""Figure 1: an All-CNN-32's last noisy layer on CIFAR-10, its activations after the noise beside the prior.

ReLU under the log-uniform prior, and softplus under the log-normal prior with its learned mean and scale. Densities
are those of log z, in which the log-uniform prior is flat; it is improper, so that only its shape can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import wasserstein_distance

from inference.fit.sites import sample_sites, scalar_prior
from inference.runs.spec import RunSpec
from inference.studies.paper.drawing import BLUE, VERMILION, new_figure
from inference.studies.paper.numbers import common_row, select, sizes_in_words
from inference.studies.paper.plan import Load, Planned, cifar_run
from inference.studies.paper.presets import preset_size

__all__ = ["TITLE", "draw", "measure", "runs"]

TITLE = "post-noise activations against their prior"
Row = dict[str, Any]

_BINS = 60
# Beyond these quantiles of log z a few activations would stretch the axis.
_RANGE = (0.001, 0.999)


def runs(preset: str, _rows: Sequence[Row]) -> list[Planned]:
    """A fit with each activation."""
    size = preset_size("fig1", preset)
    return [
        Planned(cifar_run(size, fraction=size.sizes[0], activation=activation, beta_paper=size.betas[0]))
        for activation in ("relu", "softplus")
    ]


def measure(run: RunSpec, result: Row, load: Load) -> list[Row]:
    """A row a bin: the histogram's density of log z, and the prior's."""
    program, splits = load()
    site, layer = list(program.stochastic_layers.items())[-1]
    z = sample_sites(program, splits.test.x, seed=run.training.seed)[site].flatten()
    zeros = (z == 0).sum().item() / len(z)
    log_z = z[z > 0].log().cpu().double().numpy()
    low, high = np.quantile(log_z, _RANGE)
    counts, edges = np.histogram(log_z, bins=_BINS, range=(low, high))
    density = counts / (len(z) * np.diff(edges))
    centres = torch.from_numpy((edges[:-1] + edges[1:]) / 2).to(next(layer.parameters()))
    prior = (scalar_prior(layer).log_prob(centres.exp()).detach() + centres).exp().cpu().numpy()
    if run.program.activation == "relu":
        prior = prior * density.sum() / prior.sum()
    common = common_row(run, result)
    facts = {"site": site, "zeros": zeros, "activations": len(z), "distance": _distance(log_z, edges, prior)}
    return [
        {"left": left, "right": right, "density": d, "prior": p, **facts, **common}
        for left, right, d, p in zip(
            edges[:-1].tolist(), edges[1:].tolist(), density.tolist(), prior.tolist(), strict=True
        )
    ]


def draw(rows: Sequence[Row]) -> Figure:
    """A histogram and the prior's line for each activation."""
    figure, axes = new_figure(1, 2, width=9.5, height=4.2)
    names = {"relu": "ReLU, log-uniform prior", "softplus": "softplus, log-normal prior"}
    for ax, (activation, name) in zip(axes, names.items(), strict=True):
        part = sorted(select(rows, activation=activation), key=lambda row: row["left"])
        edges = [row["left"] for row in part] + [part[-1]["right"]]
        ax.stairs(
            [row["density"] for row in part], edges, fill=True, color=BLUE, alpha=0.6, label="activations"
        )
        centres = [(row["left"] + row["right"]) / 2 for row in part]
        label = "prior (improper:\nheight set to fit)" if activation == "relu" else "prior, learned"
        ax.plot(centres, [row["prior"] for row in part], color=VERMILION, linewidth=2, label=label)
        zeros = f"; {100 * part[0]['zeros']:.0f} % are exactly 0 (not shown)" if part[0]["zeros"] > 0 else ""
        ax.set(xlabel="log z", ylabel="probability per unit of log z", ylim=(0, None))
        ax.set_title(f"{name}{zeros}", fontsize="small")
        ax.legend(fontsize="small")
    first = rows[0]
    figure.suptitle(
        f"All-CNN-32, {100 * first['size']:.3g} % of the filters, β × N = {first['setting']:g}, "
        f"layer {first['site']}; {sizes_in_words(rows)}\n",
        fontsize="small",
    )
    return figure


def _distance(log_z: np.ndarray, edges: np.ndarray, prior: np.ndarray) -> float:
    """Wasserstein distance of log z > -inf from the prior, both over the range shown, in deviations there."""
    inside = log_z[(log_z >= edges[0]) & (log_z <= edges[-1])]
    centres = (edges[:-1] + edges[1:]) / 2
    return float(wasserstein_distance(inside, centres, v_weights=prior) / inside.std())
