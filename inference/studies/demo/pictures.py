"""The demo's figures: the rate-distortion curve, and the noise that was learned for single digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from pyro import poutine
from torch import Tensor

from ib_pyro import Bottleneck, noise_off
from ib_pyro.data import LabelledImages
from ib_pyro.handlers import unwrap
from ib_pyro.plots import plot_rate_distortion
from inference.studies.demo.grid import Setting
from inference.studies.demo.summary import Summary

__all__ = ["draw_alpha", "draw_rate_distortion", "learned_alpha"]

_LINES = {"binary": "--", "constant": "-.", "none": ":"}


def draw_rate_distortion(
    results: Mapping[Setting, Sequence[Mapping[str, Any]]], summaries: Sequence[Summary], path: Path
) -> None:
    """Draw distortion against rate, a point for each beta of information dropout.

    The other methods learn no rate; the distortion of each one's chosen setting is a level line.

    Args:
        results: The contents of ``result.json`` for each setting, a run a seed.
        summaries: The same, averaged.
        path: PNG to write.
    """
    runs = {setting.value: runs for setting, runs in results.items() if setting.dropout == "information"}
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = plot_rate_distortion(
        [[run["rate"] for run in seeds] for seeds in runs.values()],
        [[run["distortion"] for run in seeds] for seeds in runs.values()],
        beta=list(runs),
        beta_unit="paper",
        label="information",
        ax=figure.subplots(),
    )
    for summary in summaries:
        style = _LINES.get(summary.setting.dropout)
        if style is not None and summary.chosen:
            name = summary.setting.dropout
            label = "no noise" if name == "none" else f"{name} noise: its best on held-out images"
            axes.axhline(summary.distortion.value, color="0.4", linestyle=style, label=label)
    axes.set_title("digits, test set, under noise", fontsize="medium")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)


def learned_alpha(program: Bottleneck, x: Tensor) -> dict[str, Tensor]:
    """Scale of the log noise that a fitted program has for each sample and unit.

    Args:
        program: A program with information dropout.
        x: Inputs, ``[B, ...]``.

    Returns:
        alpha of each site, ``[B, units]``; a later site's given the earlier ones without their noise.
    """
    with torch.no_grad(), noise_off():
        trace = poutine.trace(program.guide).get_trace(x)
    return {name: unwrap(trace.nodes[name]["fn"]).alpha for name in program.stochastic_layers}


def draw_alpha(
    program: Bottleneck, data: LabelledImages, path: Path, *, title: str = "", digits: int = 6
) -> None:
    """Draw a few digits and, beside each, alpha of every unit of every site.

    Args:
        program: A program with information dropout, in evaluation mode.
        data: Images, of which the first of each of ``digits`` classes are drawn.
        path: PNG to write.
        title: What was fitted.
        digits: Number of images.
    """
    first = [int((data.y == label).nonzero()[0]) for label in range(digits)]
    chosen = data.subset(torch.tensor(first))
    alpha = learned_alpha(program, chosen.x)
    # One order of the units for all digits: what differs down a column is what depends on the image.
    alpha = {site: values[:, values.mean(0).argsort()] for site, values in alpha.items()}
    figure = Figure(figsize=(2.0 + 2.2 * len(alpha), 0.7 * digits + 1.0), layout="constrained")
    axes = figure.subplots(
        digits, 1 + len(alpha), squeeze=False, sharey=False, width_ratios=[1, *[3] * len(alpha)]
    )
    for row in range(digits):
        axes[row, 0].imshow(chosen.x[row, 0].numpy(), cmap="gray_r")
        axes[row, 0].axis("off")
        for column, (site, values) in enumerate(alpha.items(), start=1):
            _draw_units(axes[row, column], values[row])
            axes[row, column].set_xticks([])
            if row == 0:
                axes[row, column].set_title(f"site {site}", fontsize="small")
            if column > 1:
                axes[row, column].set_yticklabels([])
    figure.suptitle(title, fontsize="medium")
    figure.supxlabel("units, in the order of their mean over these digits", fontsize="small")
    figure.supylabel("alpha, standard deviation of the log noise", fontsize="small")
    figure.savefig(path, dpi=150)


def _draw_units(axes: Any, values: Tensor) -> None:  # noqa: ANN401 - matplotlib's Axes
    axes.bar(range(len(values)), values.numpy(), width=1.0, color="#0072B2")
    axes.set_ylim(0, 0.75)
    axes.set_yticks([0, 0.7])
    axes.tick_params(labelsize="x-small")
