"""Figure 2: where an All-CNN-96 lets information through on Cluttered MNIST, at several betas.

An information map is the rate of a noisy layer at each of its positions, in absolute nats. Below the maps stands a
number: the share of the rate that lies within the digit's box, and what it would be for a rate spread evenly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from ib_pyro import Bottleneck
from ib_pyro.diagnostics import elementwise_rates, rate_by_position
from ib_pyro.plots import plot_information_map
from inference.fit.sites import read_sites
from inference.runs.spec import RunSpec
from inference.studies.paper.drawing import BLUE, GREEN, ORANGE, PURPLE, dodged, name_ticks
from inference.studies.paper.numbers import common_row, interval, select, sizes_in_words, values_of
from inference.studies.paper.plan import Load, Planned, cnn_run
from inference.studies.paper.presets import preset_size

__all__ = ["TITLE", "box_coverage", "draw", "measure", "runs"]

TITLE = "information maps on Cluttered MNIST"
Row = dict[str, Any]

_PICTURES = 3
# Nats below which a rate is drawn at the bottom of a logarithmic axis.
_FLOOR = 0.1
# Height and width of the images.
_PIXELS = 96
_COLOURS = {"z1": BLUE, "z2": ORANGE, "z3": GREEN, "z4": PURPLE}


def runs(preset: str, _rows: Sequence[Row]) -> list[Planned]:
    """One fit a beta."""
    size = preset_size("fig2", preset)
    return [
        Planned(
            cnn_run(
                size,
                model="all-cnn-96",
                data="cluttered-mnist",
                fraction=fraction,
                beta_paper=beta,
                # Of the authors' code, as is its lack of weight decay here.
                alpha_max=1.0,
                seed=seed,
            )
        )
        for seed in size.seeds
        for fraction in size.sizes
        for beta in size.betas
    ]


def measure(run: RunSpec, result: Row, load: Load) -> list[Row]:
    """Rows of three kinds: the shares of each site, the lines of some images, and the lines of their maps."""
    program, splits = load()
    test = splits.test
    common = common_row(run, result)
    maps = _rate_maps(program, test.x)
    rows = [
        {"kind": "share", **common, **_share(site, rate, test.x, test.box)} for site, rate in maps.items()
    ]
    for index in range(min(_PICTURES, len(test))):
        at = {"setting": run.strength, "seed": run.training.seed, "image": index}
        label = {"kind": "image", **at, "box": _text(test.box[index])}
        lines = (255 * test.x[index, 0]).round().to(torch.int64)
        rows += [{**label, "line": line, "values": _text(values)} for line, values in enumerate(lines)]
        for site, rate in maps.items():
            label = {"kind": "map", **at, "site": site}
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
    """Two images, each with its maps, a row a beta; below, shares within the box and rates outside against beta.

    The maps are those of the first seed.
    """
    shares = select(rows, kind="share")
    rows = select(rows, seed=min(values_of(shares, "seed")))
    betas, sites = values_of(shares, "setting"), values_of(shares, "site")
    images = values_of(select(rows, kind="image"), "image")[:2]
    lines = len(betas) * len(images)
    heights = (1.3 * lines + 0.8, 3.3)
    figure = plt.figure(figsize=(8.5, sum(heights)), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=heights)
    grid = top.add_gridspec(lines, 1 + len(sites), width_ratios=[1.5] + [1] * len(sites))
    for block, image in enumerate(images):
        start, stop = block * len(betas), (block + 1) * len(betas)
        _draw_image(top.add_subplot(grid[start:stop, 0]), rows, image)
    for column, site in enumerate(sites, start=1):
        axes = [top.add_subplot(grid[line, column]) for line in range(lines)]
        _draw_maps(axes, rows, site, images, betas)
        if column == 1:
            for ax, beta in zip(axes, betas * len(images), strict=True):
                ax.set_ylabel(f"β × N = {beta:g}", fontsize="small")
    left, right = bottom.subplots(1, 2)
    _draw_shares(left, shares, betas)
    _draw_rates(right, shares, betas)
    figure.suptitle(
        "rate by position in the noisy layers, one scale a column, colours by its square root;\n"
        f"box: the digit's; bars: 95 % intervals over the {_basis(shares)}; "
        f"{100 * shares[0]['size']:.3g} % of the filters;\n{sizes_in_words(shares)}",
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


def _draw_image(ax: Axes, rows: Sequence[Row], image: int) -> None:
    ax.imshow(_matrix(_image_lines(rows, image)), cmap="gray", vmin=0, vmax=255)
    _draw_box(ax, rows, image, scale=1.0)
    ax.set(xticks=[], yticks=[])
    ax.set_title("a test image", fontsize="small")


def _draw_maps(
    axes: Sequence[Axes], rows: Sequence[Row], site: str, images: Sequence[int], betas: Sequence[float]
) -> None:
    """A site's maps, image by image and beta by beta, on one scale: a darker map is a smaller rate."""
    cases = [(image, beta) for image in images for beta in betas]
    maps = [_matrix(select(rows, kind="map", image=i, site=site, setting=b)) for i, b in cases]
    # Colours by the square root, or the smallest rates could not be told from none.
    norm = PowerNorm(0.5, vmin=0, vmax=max(values.max() for values in maps) or 1.0)
    for line, (ax, values, (image, _)) in enumerate(zip(axes, maps, cases, strict=True)):
        name = "" if line % len(betas) else f"{site}: "
        plot_information_map(
            values, norm=norm, colorbar=False, title=f"{name}{values.sum():,.0f} nats", ax=ax
        )
        _draw_box(ax, rows, image, scale=values.shape[0] / _PIXELS)
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
        ax.title.set_fontsize("small")
    bar = axes[0].figure.colorbar(
        axes[-1].images[-1], ax=list(axes), location="bottom", shrink=0.8, aspect=12
    )
    bar.ax.tick_params(labelsize="x-small")
    bar.set_label("nats per position", fontsize="x-small")


def _draw_box(ax: Axes, rows: Sequence[Row], image: int, *, scale: float) -> None:
    x0, y0, x1, y1 = (scale * int(edge) - 0.5 for edge in _image_lines(rows, image)[0]["box"].split())
    ax.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=ORANGE, linewidth=1)


def _image_lines(rows: Sequence[Row], image: int) -> list[Row]:
    """The image's lines, which stand there once for each beta."""
    lines = select(rows, kind="image", image=image)
    return [row for row in lines if row["setting"] == lines[0]["setting"]]


def _draw_shares(ax: Axes, shares: Sequence[Row], betas: Sequence[float]) -> None:
    sites = values_of(shares, "site")
    for place, site in enumerate(sites):
        groups = [select(shares, site=site, setting=beta) for beta in betas]
        # Of a layer that lets less than a nat through, no share is drawn.
        points = [_percent(group) if _rate(group) >= 1 else (np.nan, np.nan) for group in groups]
        means, halves = zip(*points, strict=True)
        positions = dodged(betas, 0.006 * (place - (len(sites) - 1) / 2))
        ax.errorbar(
            positions,
            means,
            yerr=halves,
            marker="o",
            markersize=5,
            capsize=3,
            color=_COLOURS[site],
            label=site,
        )
        if all("ink_in_box" in row for row in groups[-1]):
            ink = 100 * np.mean([row["ink_in_box"] for row in groups[-1]])
            edge = ax.get_yaxis_transform()
            ax.plot([1.02], [ink], "<", transform=edge, clip_on=False, color=_COLOURS[site], markersize=7)
    chance = 100 * shares[0]["chance"]
    ax.axhline(chance, color="black", linestyle="--", linewidth=1, label="the box's share of the area")
    if any("ink_in_box" in row for row in shares):
        ax.plot([], [], "<", color="grey", markersize=7, label="the box's share of the ink")
    ax.set(xlabel="β × N", ylabel="share of the rate in the box [%]", ylim=(0, None))
    name_ticks(ax, betas, [f"{beta:g}" for beta in betas])
    low, high = ax.get_ylim()
    # Room for the legend above the lines.
    ax.set_ylim(low, 1.45 * high)
    ax.legend(fontsize="x-small", ncols=2, loc="upper left")


def _draw_rates(ax: Axes, shares: Sequence[Row], betas: Sequence[float]) -> None:
    for site in values_of(shares, "site"):
        groups = [[r["rate_outside"] for r in select(shares, site=site, setting=b)] for b in betas]
        outside = np.maximum([np.mean(group) for group in groups], _FLOOR)
        ax.plot(betas, outside, marker="o", markersize=5, color=_COLOURS[site], label=site)
    errors = [
        100 * np.mean([row["test_error_deterministic"] for row in select(shares, setting=beta)])
        for beta in betas
    ]
    name_ticks(ax, betas, [f"{beta:g}\n({error:.0f} %)" for beta, error in zip(betas, errors, strict=True)])
    ax.set(
        yscale="log",
        xlabel="β × N (test error, noise off)",
        ylabel=f"rate outside of the box [nats],\nat least {_FLOOR:g}",
    )


def _percent(group: Sequence[Row]) -> tuple[float, float]:
    """Share within the box and half of its interval: over the seeds, or, of a single fit, over the images."""
    mean, half = interval([100 * row["share_in_box"] for row in group])
    return (mean, half) if len(group) > 1 else (mean, 196 * group[0]["share_in_box_se"])


def _basis(shares: Sequence[Row]) -> str:
    return "seeds" if len(values_of(shares, "seed")) > 1 else "test images"


def _matrix(lines: Sequence[Row]) -> np.ndarray:
    ordered = sorted(lines, key=lambda row: row["line"])
    return np.array([[float(value) for value in str(row["values"]).split()] for row in ordered])


def _text(values: Tensor) -> str:
    return " ".join(f"{value:.4g}" for value in values.tolist())


def _rate(group: Sequence[Row]) -> float:
    return float(np.mean([row["rate_in_box"] + row["rate_outside"] for row in group]))
