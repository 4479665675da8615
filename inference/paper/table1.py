"""Table 1: the variational lower bound of a VAE with Gaussian or information-dropout latents, at three sizes.

MNIST, each pixel binarised anew at every step, and once for the test. Beta is 1 per sample: anything else is no bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from inference.paper.drawing import BLUE, VERMILION, new_figure
from inference.paper.numbers import common_row, interval, select, sizes_in_words, values_of
from inference.paper.presets import preset_size
from inference.paper.run import PaperRun, Place

__all__ = ["TITLE", "draw", "measure", "runs"]

TITLE = "variational lower bound of a VAE on MNIST"
Row = dict[str, Any]

_LATENTS = {"gaussian": ("Gaussian", VERMILION), "information": ("information dropout", BLUE)}


def runs(preset: str, _rows: Sequence[Row]) -> list[PaperRun]:
    """A fit for each latent, size k and seed."""
    size = preset_size("table1", preset)
    return [
        PaperRun(
            model="vae",
            data="mnist",
            size=k,
            latent=latent,
            beta=1.0,
            epochs=size.epochs,
            drops=size.drops,
            optimizer="adam",
            lr=size.lr,
            batch_size=size.batch_size,
            holdout=size.holdout,
            train_images=size.train_images,
            test_images=size.test_images,
            num_samples=1,
            seed=seed,
        )
        for seed in size.seeds
        for k in size.sizes
        for latent in _LATENTS
    ]


def measure(run: PaperRun, result: Row, _place: Place) -> list[Row]:
    """One row: the bound on log p(x), in nats per test image."""
    row = common_row(run, result)
    row |= {"latent": run.latent, "bound": -(result["distortion"] + result["rate"])}
    return [row]


def draw(rows: Sequence[Row]) -> Figure:
    """The table, and the same as bars."""
    figure, (left, right) = new_figure(1, 2, width=10, height=3.6)
    sizes = values_of(rows, "size")
    cells = []
    for shift, (latent, (name, colour)) in enumerate(_LATENTS.items()):
        groups = [[row["bound"] for row in select(rows, size=k, latent=latent)] for k in sizes]
        means, halves = zip(*[interval(group) for group in groups], strict=True)
        right.bar(
            [position + 0.36 * (shift - 0.5) for position in range(len(sizes))],
            [-mean for mean in means],
            0.34,
            yerr=halves,
            capsize=3,
            color=colour,
            label=name,
        )
        cells.append(
            [f"{m:.2f}" + (f" ± {h:.2f}" if h == h else "") for m, h in zip(means, halves, strict=True)]
        )
    left.axis("off")
    table = left.table(
        cells,
        rowLabels=[name for name, _ in _LATENTS.values()],
        colLabels=[f"k = {k:g}" for k in sizes],
        loc="center",
    )
    table.scale(1, 1.8)
    left.set_title("lower bound of log p(x) [nats per test image]", fontsize="small")
    right.set_xticks(range(len(sizes)), [f"{k:g}" for k in sizes])
    right.set(xlabel="size k (256 k latents, 512 k hidden units)", ylabel="−bound [nats per image]")
    right.legend(fontsize="small", loc="lower right")
    figure.suptitle(f"VAE, MNIST, binarised; {sizes_in_words(rows)}; ±: 95 % interval", fontsize="small")
    return figure
