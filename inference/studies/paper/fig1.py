"""Figure 1: an All-CNN-32's last noisy layer on CIFAR-10, its activations after the noise beside the prior.

ReLU under the log-uniform prior, and softplus under the log-normal prior with its learned mean and scale. Densities
are those of log z, in which the log-uniform prior is flat; it is improper, so that only its shape can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import matplotlib.figure
import numpy as np
import pandas as pd
import torch
from scipy.stats import wasserstein_distance

from ib_pyro.training.noisy_sites import sample_sites, scalar_prior
from inference.runs.spec import RunSpec
from inference.studies.paper.drawing import new_figure, write_heading
from inference.studies.paper.evidence import every, positive
from inference.studies.paper.figure import Figure
from inference.studies.paper.methods import BLUE, VERMILION
from inference.studies.paper.plan import (
    FRESH,
    PAPER_CNN,
    PER_IMAGE,
    SMALL_CNN,
    SMOKE_CNN,
    Load,
    Planned,
    Size,
    cifar_run,
)
from inference.studies.paper.statistics import common_row, sizes_in_words
from inference.studies.paper.verdicts import Claim, Finding

__all__ = ["FIGURE"]

Row = dict[str, Any]

_PAPER = Size(sizes=(1.0,), betas=(3.0,), **PAPER_CNN)
_SIZES = {
    "smoke": Size(sizes=(1 / 12,), betas=(0.1,), **SMOKE_CNN),
    "small": Size(sizes=(0.25,), betas=(0.5,), **SMALL_CNN),
    # The softplus fits are Figure 6's.
    "definitive": Size(sizes=(0.25,), betas=(0.5,), seeds=FRESH[:5], **SMALL_CNN),
    "paper": _PAPER,
    "code": _PAPER.of_the_code,
}
_BINS = 60
# Beyond these quantiles of log z a few activations would stretch the axis.
_RANGE = (0.001, 0.999)
# Largest distance from the prior, in standard deviations of log z.
_DISTANCE = 0.25
_RULE = "mean Wasserstein distance below a quarter of the standard deviation of log z, over the range shown, at 5 %"


def runs(size: Size, _rows: pd.DataFrame) -> list[Planned]:
    """A fit with each activation and seed."""
    return [
        Planned(
            cifar_run(
                size, fraction=size.sizes[0], activation=activation, beta_paper=size.betas[0], seed=seed
            )
        )
        for seed in size.seeds
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


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A histogram and the prior's line for each activation, of the first seed."""
    every_seed, rows = rows, rows[rows["seed"] == rows["seed"].min()]
    figure, axes = new_figure(1, 2, width=9.5, height=4.2)
    names = {"relu": "ReLU, log-uniform prior", "softplus": "softplus, log-normal prior"}
    for ax, (activation, name) in zip(axes, names.items(), strict=True):
        part = rows[rows["activation"] == activation].sort_values("left")
        edges = [*part["left"], part["right"].iloc[-1]]
        ax.stairs(part["density"], edges, fill=True, color=BLUE, alpha=0.6, label="activations")
        centres = (part["left"] + part["right"]) / 2
        label = "prior (improper:\nheight set to fit)" if activation == "relu" else "prior, learned"
        ax.plot(centres, part["prior"], color=VERMILION, linewidth=2, label=label)
        share = part["zeros"].iloc[0]
        zeros = f"; {100 * share:.0f} % are exactly 0 (not shown)" if share > 0 else ""
        ax.set(xlabel="log z", ylabel="probability per unit of log z", ylim=(0, None))
        ax.set_title(f"{name}{zeros}", fontsize="small")
        ax.legend(fontsize="small")
    first = rows.iloc[0]
    write_heading(
        figure,
        f"All-CNN-32, {100 * first['size']:.3g} % of the filters, β × N = {first['setting']:g}, "
        f"layer {first['site']}; {sizes_in_words(every_seed)}; drawn is the first",
    )
    return figure


def follows(activation: str) -> Callable[[pd.DataFrame], Finding]:
    """The judge of whether the activations behind an activation function follow their prior."""

    def judge(rows: pd.DataFrame) -> Finding:
        distances = rows[rows["activation"] == activation].groupby("seed")["distance"].first()
        parts = [positive(_DISTANCE - distances)]
        words = f"distance from the prior in standard deviations of log z: {distances.mean():.2f}"
        half = parts[0].half
        return Finding(words if math.isnan(half) else f"{words} ± {half:.2f}", parts, every(parts))

    return judge


def _distance(log_z: np.ndarray, edges: np.ndarray, prior: np.ndarray) -> float:
    """Wasserstein distance of log z > -inf from the prior, both over the range shown, in deviations there."""
    inside = log_z[(log_z >= edges[0]) & (log_z <= edges[-1])]
    centres = (edges[:-1] + edges[1:]) / 2
    return float(wasserstein_distance(inside, centres, v_weights=prior) / inside.std())


FIGURE = Figure(
    name="fig1",
    title="post-noise activations against their prior",
    sizes=_SIZES,
    runs=runs,
    measure=measure,
    draw=draw,
    claims=(
        Claim(
            words="Behind softplus the activations after the noise follow their log-normal prior.",
            paper="the histogram approximately follows the prior",
            rule=_RULE,
            judge=follows("softplus"),
        ),
        Claim(
            words="Behind a ReLU those above zero follow their log-uniform prior.",
            paper="the histogram approximately follows the prior",
            rule=_RULE,
            judge=follows("relu"),
        ),
    ),
    remark=f"{PER_IMAGE} Batch norm makes what enters the ReLU about normal: the part above zero of a normal "
    "variable, times log-normal noise, is 1.3 to 2.3 standard deviations of its logarithm away from a log-uniform "
    "variable, "
    "whatever the fit.",
)
