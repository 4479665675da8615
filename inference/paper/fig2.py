"""Figure 2: where an All-CNN-96 lets information through on Cluttered MNIST, at several betas.

An information map is the rate of a noisy layer at each of its positions, in absolute nats. Below the maps stands a
number: the share of the rate that lies within the digit's box, and what it would be for a rate spread evenly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from ib_pyro import Bottleneck
from ib_pyro.diagnostics import elementwise_rates, rate_by_position
from ib_pyro.plots import plot_information_map
from inference.paper.drawing import BLUE, GREEN, ORANGE, PURPLE, new_figure
from inference.paper.execution import load_program
from inference.paper.numbers import common_row, select, sizes_in_words, values_of
from inference.paper.presets import preset_size
from inference.paper.run import PaperRun, Place
from inference.paper.sites import read_sites

__all__ = ["TITLE", "box_coverage", "draw", "measure", "runs"]

TITLE = "information maps on Cluttered MNIST"
Row = dict[str, Any]

_PICTURES = 3
# Nats below which a rate is drawn at the bottom of a logarithmic axis.
_FLOOR = 0.1
_MAPPED_SITES = ("z1", "z2", "z3")
_COLOURS = {"z1": BLUE, "z2": ORANGE, "z3": GREEN, "z4": PURPLE}


def runs(preset: str, _rows: Sequence[Row]) -> list[PaperRun]:
    """One fit a beta."""
    size = preset_size("fig2", preset)
    return [
        PaperRun(
            model="all-cnn-96",
            data="cluttered-mnist",
            size=fraction,
            beta_paper=beta,
            # Of the authors' code, as is its lack of weight decay here.
            alpha_max=1.0,
            epochs=size.epochs,
            drops=size.drops,
            lr=size.lr,
            batch_size=size.batch_size,
            nesterov=size.nesterov,
            holdout=size.holdout,
            train_images=size.train_images,
            test_images=size.test_images,
            num_samples=size.num_samples,
            seed=seed,
        )
        for seed in size.seeds
        for fraction in size.sizes
        for beta in size.betas
    ]


def measure(run: PaperRun, result: Row, place: Place) -> list[Row]:
    """Rows of three kinds: the shares of each site, the lines of some images, and the lines of their maps."""
    program, splits = load_program(run, place)
    test = splits.test
    common = common_row(run, result)
    maps = _rate_maps(program, test.x)
    rows = [
        {"kind": "share", **common, **_share(site, rate, test.x, test.box)} for site, rate in maps.items()
    ]
    for index in range(min(_PICTURES, len(test))):
        label = {"kind": "image", "image": index, "box": _text(test.box[index]), "setting": run.rate_setting}
        lines = (255 * test.x[index, 0]).round().to(torch.int64)
        rows += [{**label, "line": line, "values": _text(values)} for line, values in enumerate(lines)]
        for site, rate in maps.items():
            label = {"kind": "map", "image": index, "site": site, "setting": run.rate_setting}
            rows += [
                {**label, "line": line, "values": _text(values)} for line, values in enumerate(rate[index])
            ]
    return rows


def _rate_maps(program: Bottleneck, x: Tensor) -> dict[str, Tensor]:
    """The information map of each image at each site, ``[N, H, W]``, nats per position."""

    def read(part: Tensor) -> dict[str, Tensor]:
        return {site: rate_by_position(rate) for site, rate in elementwise_rates(program, part).items()}

    return read_sites(program, x, read)


def box_coverage(box: Tensor, height: int, width: int, size: int) -> Tensor:
    """Share of each position's pixels that lies within a box.

    Args:
        box: ``[N, 4]``, ``(x0, y0, x1, y1)`` in pixels, ends excluded.
        height: Rows of the map.
        width: Columns of the map.
        size: Height and width of the image in pixels.

    Returns:
        ``[N, height, width]``, in [0, 1].

    >>> box_coverage(torch.tensor([[0, 0, 3, 4]]), 2, 2, 8)[0]
    tensor([[0.7500, 0.0000],
            [0.0000, 0.0000]])
    """
    x0, y0, x1, y1 = box.to(torch.float32).unbind(1)

    def covered(low: Tensor, high: Tensor, cells: int) -> Tensor:
        step = size / cells
        edges = torch.arange(cells) * step
        overlap = torch.minimum(high[:, None], edges + step) - torch.maximum(low[:, None], edges)
        return overlap.clamp_min(0) / step

    return covered(y0, y1, height)[:, :, None] * covered(x0, x1, width)[:, None, :]


def draw(rows: Sequence[Row]) -> Figure:
    """Images with their maps, a row a beta; to the right the share within the box against beta."""
    shares = select(rows, kind="share")
    betas = values_of(shares, "setting")
    images = values_of(select(rows, kind="image"), "image")[:2]
    columns = len(images) * (1 + len(_MAPPED_SITES))
    figure, axes = new_figure(len(betas) + 1, columns, width=1.75 * columns, height=1.75 * len(betas) + 3)
    grid = axes[-1, 0].get_gridspec()
    grid.set_height_ratios([1.0] * len(betas) + [1.6])
    for ax in axes[-1]:
        ax.remove()
    for line, beta in enumerate(betas):
        for position, image in enumerate(images):
            start = position * (1 + len(_MAPPED_SITES))
            _draw_image(axes[line, start], rows, image, beta)
            for column, site in enumerate(_MAPPED_SITES, start=start + 1):
                _draw_map(axes[line, column], rows, image, site, beta, betas)
    left = figure.add_subplot(grid[-1, : columns // 2])
    right = figure.add_subplot(grid[-1, columns // 2 :])
    _draw_shares(left, shares, betas)
    _draw_rates(right, shares, betas)
    figure.suptitle(
        "rate by position of three of the four noisy layers [nats per position, one scale a column]; "
        f"{sizes_in_words(shares)}, "
        f"{100 * shares[0]['size']:.3g} % of the filters",
        fontsize="small",
    )
    return figure


def _share(site: str, rate: Tensor, x: Tensor, box: Tensor) -> Row:
    """The share of all the images' rate within their boxes, its standard error over images, and what to expect.

    ``chance`` is the boxes' share of the area. ``ink_in_box`` is their share of the images' ink, the sum of the
    pixels: that of a rate which follows the ink, whether it is the digit's or clutter.
    """
    inside = box_coverage(box, *rate.shape[1:], size=x.shape[-1])
    ink = F.adaptive_avg_pool2d(x.sum(1), rate.shape[1:])
    within, total = (rate * inside).sum((1, 2)), rate.sum((1, 2))
    # A ratio of means: a mean of ratios would give images in which nothing gets through a say.
    share = within.mean() / total.mean()
    residual = (within - share * total) / total.mean()
    return {
        "site": site,
        "share_in_box": share.item(),
        "share_in_box_se": residual.std().item() / math.sqrt(len(residual)),
        "chance": inside.mean((1, 2)).mean().item(),
        "ink_in_box": ((ink * inside).sum((1, 2)).mean() / ink.sum((1, 2)).mean()).item(),
        "rate_in_box": within.mean().item(),
        "rate_outside": (total - within).mean().item(),
    }


def _draw_image(ax: Axes, rows: Sequence[Row], image: int, beta: float) -> None:
    lines = select(rows, kind="image", image=image)
    lines = [row for row in lines if row["setting"] == lines[0]["setting"]]
    ax.imshow(_matrix(lines), cmap="gray", vmin=0, vmax=255)
    x0, y0, x1, y1 = map(int, lines[0]["box"].split())
    ax.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=ORANGE, linewidth=1)
    ax.set(xticks=[], yticks=[], ylabel=f"β × N = {beta:g}")


def _draw_map(
    ax: Axes, rows: Sequence[Row], image: int, site: str, beta: float, betas: Sequence[float]
) -> None:
    maps = {b: _matrix(select(rows, kind="map", image=image, site=site, setting=b)) for b in betas}
    # One scale for the betas of a layer, so that a darker map is a smaller rate.
    top = max(values.max() for values in maps.values())
    total = maps[beta].sum()
    plot_information_map(maps[beta], vmax=top, colorbar=False, title=f"{site}: {total:,.0f} nats", ax=ax)
    ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    ax.title.set_fontsize("small")
    bar = ax.figure.colorbar(ax.images[-1], ax=ax, shrink=0.72)
    bar.ax.tick_params(labelsize="x-small")


def _draw_shares(ax: Axes, shares: Sequence[Row], betas: Sequence[float]) -> None:
    for site in values_of(shares, "site"):
        part = [select(shares, site=site, setting=beta) for beta in betas]
        # Of a layer that lets less than a nat through, no share is drawn.
        means = [
            100 * np.mean([row["share_in_box"] for row in group]) if _rate(group) >= 1 else np.nan
            for group in part
        ]
        errors = [196 * group[0]["share_in_box_se"] for group in part]
        ax.errorbar(betas, means, yerr=errors, marker="o", capsize=2, color=_COLOURS[site], label=site)
    ax.axhline(
        100 * shares[0]["chance"], color="black", linestyle="--", linewidth=1, label="even spread (chance)"
    )
    ax.set(xscale="log", xlabel="β × N", ylabel="share of the rate in the digit's box [%]", ylim=(0, None))
    ax.set_xticks(betas, [f"{beta:g}" for beta in betas])
    ax.minorticks_off()
    ax.legend(fontsize="x-small")


def _draw_rates(ax: Axes, shares: Sequence[Row], betas: Sequence[float]) -> None:
    for site in values_of(shares, "site"):
        outside = [
            np.mean([row["rate_outside"] for row in select(shares, site=site, setting=b)]) for b in betas
        ]
        ax.plot(betas, np.maximum(outside, _FLOOR), marker="o", color=_COLOURS[site], label=site)
    errors = [100 * select(shares, setting=beta)[0]["test_error_deterministic"] for beta in betas]
    labels = [f"{beta:g}\n({error:.0f} %)" for beta, error in zip(betas, errors, strict=True)]
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="β × N (test error, noise off)",
        ylabel=f"rate outside of the box, at least {_FLOOR:g} [nats]",
    )
    ax.set_xticks(betas, labels)
    ax.minorticks_off()


def _matrix(lines: Sequence[Row]) -> np.ndarray:
    ordered = sorted(lines, key=lambda row: row["line"])
    return np.array([[float(value) for value in str(row["values"]).split()] for row in ordered])


def _text(values: Tensor) -> str:
    return " ".join(f"{value:.4g}" for value in values.tolist())


def _rate(group: Sequence[Row]) -> float:
    return float(np.mean([row["rate_in_box"] + row["rate_outside"] for row in group]))
