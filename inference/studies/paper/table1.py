"""Table 1: the variational lower bound of a VAE with Gaussian or information-dropout latents, at three sizes.

MNIST, each pixel binarised anew at every step, and once for the test. Beta is 1 per sample: anything else is no bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from inference.runs.spec import RunSpec
from inference.studies.paper.drawing import BLUE, VERMILION, draw_means, intervals_in_words, new_figure
from inference.studies.paper.numbers import common_row, interval, select, sizes_in_words, values_of
from inference.studies.paper.plan import Load, Planned, paper_run
from inference.studies.paper.presets import preset_size

__all__ = ["TITLE", "draw", "measure", "runs"]

TITLE = "variational lower bound of a VAE on MNIST"
Row = dict[str, Any]

_LOOKS: dict[str, dict[str, Any]] = {
    "gaussian": {"label": "Gaussian", "color": VERMILION, "marker": "s"},
    "information": {"label": "information dropout", "color": BLUE, "marker": "o"},
}
# The bounds that the paper prints for k = 1.
_PAPER = {"gaussian": -98.8, "information": -100.0}


def runs(preset: str, _rows: Sequence[Row]) -> list[Planned]:
    """A fit for each latent, size k and seed."""
    size = preset_size("table1", preset)
    return [
        Planned(
            paper_run(
                size,
                model="vae",
                data="mnist",
                k=int(k),
                latent=latent,
                beta=1.0,
                optimizer="adam",
                num_samples=1,
                num_importance_samples=0,
                seed=seed,
            )
        )
        for seed in size.seeds
        for k in size.sizes
        for latent in _LOOKS
    ]


def measure(run: RunSpec, result: Row, _load: Load) -> list[Row]:
    """One row: the bound on log p(x), in nats per test image."""
    row = common_row(run, result)
    row |= {"latent": run.program.latent, "bound": -(result["distortion"] + result["rate"])}
    return [row]


def draw(rows: Sequence[Row]) -> Figure:
    """The table, and the same as points on an axis that shows the differences."""
    figure, (left, right) = new_figure(1, 2, width=10, height=3.8, width_ratios=[1.1, 1])
    sizes = values_of(rows, "size")
    cells = []
    for shift, (latent, look) in zip((-0.06, 0.06), _LOOKS.items(), strict=True):
        groups = [[row["bound"] for row in select(rows, size=k, latent=latent)] for k in sizes]
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


def _cell(bounds: Sequence[float]) -> str:
    mean, half = interval(bounds)
    return f"{mean:.2f}" if math.isnan(half) else f"{mean:.2f} ± {half:.2f}"


def _spread_in_words(rows: Sequence[Row]) -> str:
    words = intervals_in_words(rows)
    return words and words.replace("bars", "bars and ±")
