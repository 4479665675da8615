"""Figure 4: what an All-CNN-32 keeps of a nuisance, on CIFAR-10 images occluded by digits, against beta.

The network classifies the image. A second network then tries to read the occluding digit from the first one's last
noisy layer, which is frozen: the more it errs, the more of the nuisance was left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from inference.runs.spec import RunSpec
from inference.studies.paper.drawing import (
    BLUE,
    VERMILION,
    dodged,
    draw_means,
    intervals_in_words,
    name_ticks,
    new_figure,
)
from inference.studies.paper.numbers import common_row, select, sizes_in_words, values_of
from inference.studies.paper.plan import Load, Planned, cifar_run
from inference.studies.paper.presets import preset_size
from inference.studies.paper.probe import probe_errors

__all__ = ["TITLE", "draw", "measure", "runs"]

TITLE = "main and nuisance error on Occluded CIFAR against beta"
Row = dict[str, Any]

# Error of a guess among ten digits [%].
_CHANCE = 90
_DASHED = {"linestyle": "--", "markerfacecolor": "white"}


def runs(preset: str, _rows: Sequence[Row]) -> list[Planned]:
    """One fit a beta and seed."""
    size = preset_size("fig4", preset)
    return [
        Planned(cifar_run(size, fraction=fraction, data="occluded-cifar", beta_paper=beta, seed=seed))
        for seed in size.seeds
        for fraction in size.sizes
        for beta in size.betas
    ]


def measure(run: RunSpec, result: Row, load: Load) -> list[Row]:
    """One row: the errors of the network, and of the probe on its noisy and its deterministic representation."""
    program, splits = load()
    training = run.training
    errors = probe_errors(
        program,
        splits,
        epochs=max(1, training.epochs // 2),
        batch_size=training.batch_size,
        seed=training.seed,
    )
    return [{**common_row(run, result), **errors}]


def draw(rows: Sequence[Row]) -> Figure:
    """Both errors against beta, with the noise on and off."""
    figure, axes = new_figure(1, 2, width=9, height=4)
    betas = values_of(rows, "setting")
    tasks = (
        ("main task: the image", "test_error", BLUE),
        ("nuisance: the digit, read by the probe", "nuisance_error", VERMILION),
    )
    for ax, (title, column, colour) in zip(axes, tasks, strict=True):
        for kind, shift, look in (("noisy", -0.005, {}), ("deterministic", 0.005, _DASHED)):
            groups = [[100 * row[f"{column}_{kind}"] for row in select(rows, setting=b)] for b in betas]
            name = f"{kind} ({kind[0].upper()})"
            draw_means(ax, dodged(betas, shift), groups, color=colour, label=name, **look)
        name_ticks(ax, betas, [f"{beta:g}" for beta in betas])
        ax.set(xlabel="β × N (N training images)", ylabel="test error [%]", title=title)
    axes[1].axhline(_CHANCE, color="black", linewidth=0.8, linestyle=":", label="chance")
    for ax in axes:
        ax.margins(y=0.15)
        ax.legend(fontsize="small")
    figure.suptitle(
        f"All-CNN-32, {100 * rows[0]['size']:.3g} % of the filters; {sizes_in_words(rows)}"
        f"{intervals_in_words(rows)}",
        fontsize="small",
    )
    return figure
