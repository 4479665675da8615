"""Figure 4: what an All-CNN-32 keeps of a nuisance, on CIFAR-10 images occluded by digits, against beta.

The network classifies the image. A second network then tries to read the occluding digit from the first one's last
noisy layer, which is frozen: the more it errs, the more of the nuisance was left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from inference.paper.cifar import cifar_run
from inference.paper.drawing import BLUE, VERMILION, new_figure
from inference.paper.execution import load_program
from inference.paper.numbers import common_row, sizes_in_words, values_of
from inference.paper.presets import preset_size
from inference.paper.probe import probe_errors
from inference.paper.run import PaperRun, Place

__all__ = ["TITLE", "draw", "measure", "runs"]

TITLE = "main and nuisance error on Occluded CIFAR against beta"
Row = dict[str, Any]


def runs(preset: str, _rows: Sequence[Row]) -> list[PaperRun]:
    """One fit a beta and seed."""
    size = preset_size("fig4", preset)
    return [
        cifar_run(size, fraction=fraction, data="occluded-cifar", beta_paper=beta, seed=seed)
        for seed in size.seeds
        for fraction in size.sizes
        for beta in size.betas
    ]


def measure(run: PaperRun, result: Row, place: Place) -> list[Row]:
    """One row: the errors of the network, and of the probe on its noisy and its deterministic representation."""
    program, splits = load_program(run, place)
    errors = probe_errors(
        program, splits, epochs=max(1, run.epochs // 2), batch_size=run.batch_size, seed=run.seed
    )
    return [{**common_row(run, result), **errors}]


def draw(rows: Sequence[Row]) -> Figure:
    """Both errors against beta, with the noise on and off."""
    figure, axes = new_figure(1, 2, width=9, height=4)
    betas = values_of(rows, "setting")
    tasks = (
        ("main task: the image", "test_error", BLUE),
        ("nuisance: the digit", "nuisance_error", VERMILION),
    )
    for ax, (title, column, colour) in zip(axes, tasks, strict=True):
        for kind, line in (("noisy", "-"), ("deterministic", "--")):
            points = [[100 * row[f"{column}_{kind}"] for row in rows if row["setting"] == b] for b in betas]
            for shift, values in zip(betas, points, strict=True):
                ax.plot([shift] * len(values), values, "o", color=colour, markersize=4)
            means = [sum(values) / len(values) for values in points]
            ax.plot(betas, means, linestyle=line, color=colour, label=f"{kind} ({kind[0].upper()})")
        ax.axhline(90, color="black", linewidth=0.8, linestyle=":", label="chance")
        ax.set(xscale="log", xlabel="β × N (N training images)", ylabel="test error [%]", title=title)
        ax.set_xticks(betas, [f"{beta:g}" for beta in betas])
        ax.minorticks_off()
        ax.legend(fontsize="small")
    figure.suptitle(
        f"All-CNN-32, {100 * rows[0]['size']:.3g} % of the filters; {sizes_in_words(rows)}; points: seeds",
        fontsize="small",
    )
    return figure
