"""Table 1: the variational lower bound of a VAE with Gaussian or information-dropout latents, at three sizes.

MNIST, each pixel binarised anew at every step, and once for the test. Beta is 1 per sample: anything else is no bound.
"""

from __future__ import annotations

import math
from typing import Any

import matplotlib.figure
import pandas as pd

from inference.runs.spec import RunSpec
from inference.studies.paper.drawing import draw_means, intervals_in_words, new_figure
from inference.studies.paper.figure import Figure
from inference.studies.paper.methods import BLUE, VERMILION
from inference.studies.paper.plan import THREE, Load, Planned, Size, paper_run
from inference.studies.paper.statistics import (
    by_seed,
    common_row,
    interval,
    levels,
    mean_of,
    sizes_in_words,
    steps,
)
from inference.studies.paper.verdicts import Claim, Finding, all_of, basis_of, within

__all__ = ["FIGURE"]

Row = dict[str, Any]

_SIZES = {
    "smoke": Size(sizes=(1, 2), epochs=1, lr=1e-3, batch_size=50, train_images=100, test_images=50),
    "small": Size(sizes=(1, 2, 3), epochs=30, drops=(24,), lr=1e-3, batch_size=128, train_images=10_000),
    "paper": Size(
        sizes=(1, 2, 3), seeds=THREE, epochs=300, drops=(30, 120), lr=1e-3, batch_size=256, holdout=0
    ),
}
_LOOKS: dict[str, dict[str, Any]] = {
    "gaussian": {"label": "Gaussian", "color": VERMILION, "marker": "s"},
    "information": {"label": "information dropout", "color": BLUE, "marker": "o"},
}
# The bounds that the paper prints for k = 1.
_PAPER = {"gaussian": -98.8, "information": -100.0}
# Largest distance of two bounds that are about the same, in nats per image.
_CLOSE = 2.0


def runs(size: Size, _rows: pd.DataFrame) -> list[Planned]:
    """A fit for each latent, size k and seed."""
    options = {"model": "vae", "data": "mnist", "beta": 1.0, "optimizer": "adam"}
    # What the table shows is the bound of one draw.
    options |= {"num_samples": 1, "num_importance_samples": 0}
    return [
        Planned(paper_run(size, k=int(k), latent=latent, seed=seed, **options))
        for seed in size.seeds
        for k in size.sizes
        for latent in _LOOKS
    ]


def measure(run: RunSpec, result: Row, _load: Load) -> list[Row]:
    """One row: the bound on log p(x), in nats per test image."""
    bound = -(result["distortion"] + result["rate"])
    return [{**common_row(run, result), "latent": run.program.latent, "bound": bound}]


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """The table, and the same as points on an axis that shows the differences."""
    figure, (left, right) = new_figure(1, 2, width=10, height=3.8, width_ratios=[1.1, 1])
    sizes = levels(rows, "size")
    cells = []
    for shift, (latent, look) in zip((-0.06, 0.06), _LOOKS.items(), strict=True):
        groups = [rows["bound"][(rows["size"] == k) & (rows["latent"] == latent)] for k in sizes]
        draw_means(right, [k + shift for k in sizes], groups, **look)
        printed = {"color": look["color"], "marker": look["marker"], "markerfacecolor": "white"}
        label = f"{look['label']}, paper"
        right.plot([1 + shift], [_PAPER[latent]], linestyle="none", label=label, **printed)
        paper = {1: f"{_PAPER[latent]:.1f}"}
        cells += [[_cell(group) for group in groups], [paper.get(k, "–") for k in sizes]]
    left.axis("off")
    names = [name for look in _LOOKS.values() for name in (look["label"], "   paper")]
    table = left.table(
        cells, rowLabels=names, colLabels=[f"k = {k:g}" for k in sizes], loc="center", cellLoc="center"
    )
    table.scale(1, 1.6)
    left.set_title("lower bound of log p(x) [nats per test image]", fontsize="small", y=0.8)
    right.set_xticks(sizes, [f"{k:g}" for k in sizes])
    right.set(
        xlabel="size k (256 k latents, 512 k hidden units)", ylabel="bound [nats per image], higher is better"
    )
    right.margins(x=0.12)
    right.legend(fontsize="x-small")
    figure.suptitle(
        f"VAE, MNIST, binarised; {sizes_in_words(rows)}{_spread_in_words(rows)}", fontsize="small"
    )
    return figure


def bounds_are_close(rows: pd.DataFrame) -> Finding:
    """Whether the two bounds are close at every size."""
    sizes = levels(rows, "size")
    parts, gaps = [], []
    for k in sizes:
        at_size = rows[rows["size"] == k]
        pair = [by_seed(at_size[at_size["latent"] == name], "bound") for name in _LOOKS]
        gaps += steps(pair, parts=len(sizes))
        gaussian, information = (mean_of(bounds) for bounds in pair)
        parts.append(f"k = {k:g}: {gaussian:.2f} and {information:.2f}, Gaussian higher by {gaps[-1]}")
    words = f"Gaussian and information [nats per image]: {'; '.join(parts)}"
    return Finding(words, basis_of(gaps), all_of([within(gap, _CLOSE) for gap in gaps]))


def _cell(bounds: pd.Series) -> str:
    mean, half = interval(bounds)
    return f"{mean:.2f}" if math.isnan(half) else f"{mean:.2f} ± {half:.2f}"


def _spread_in_words(rows: pd.DataFrame) -> str:
    words = intervals_in_words(rows)
    return words and words.replace("bars", "bars and ±")


FIGURE = Figure(
    name="table1",
    title="variational lower bound of a VAE on MNIST",
    sizes=_SIZES,
    runs=runs,
    measure=measure,
    draw=draw,
    claims=(
        Claim(
            words="A VAE with information dropout has about the bound of one with Gaussian latents, at every size.",
            paper="comparable bounds, k = 1, 2, 3; at k = 1 -98.8 (Gaussian) and -100.0",
            rule="bounds within 2 nats of each other at every k, with their intervals",
            judge=bounds_are_close,
        ),
    ),
    remark="The information latent takes longer to fit: [VAE.md](VAE.md) has k = 1 after 300 epochs on all images.",
)
