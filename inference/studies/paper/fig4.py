"""Figure 4: what an All-CNN-32 keeps of a nuisance, on CIFAR-10 images occluded by digits, against beta.

The network classifies the image. A second network then tries to read the occluding digit from the first one's last
noisy layer, which is frozen: the more it errs, the more of the nuisance was left out.
"""

from __future__ import annotations

from typing import Any

import matplotlib.figure
import pandas as pd

from inference.runs.spec import RunSpec
from inference.studies.paper.drawing import (
    dodged,
    draw_means,
    intervals_in_words,
    name_ticks,
    new_figure,
    write_heading,
)
from inference.studies.paper.evidence import (
    LEVEL,
    NOT,
    REPRODUCED,
    UNDECIDED,
    complete_seeds,
    differences,
    every,
    positive,
    trend,
)
from inference.studies.paper.figure import Figure
from inference.studies.paper.methods import BLUE, VERMILION
from inference.studies.paper.plan import (
    FRESH,
    OVERFITTING_CNN,
    PAPER_CNN,
    SMALL_CNN,
    SMOKE_CNN,
    THREE,
    Load,
    Planned,
    Size,
    cifar_run,
)
from inference.studies.paper.probe import probe_errors
from inference.studies.paper.statistics import by_seed, common_row, mean_of, sizes_in_words
from inference.studies.paper.verdicts import (
    FALL_AND_RISE,
    Claim,
    Finding,
    by_beta,
    main_error_falls_first,
    series_in_words,
    unless,
)

__all__ = ["FIGURE"]

Row = dict[str, Any]

_SIZES = {
    "smoke": Size(sizes=(1 / 12,), betas=(0.1, 8.0), **SMOKE_CNN),
    # Per image those of 0.1, 0.5, 1, 5, 20 and 80 with all of the images.
    "small": Size(
        sizes=(0.25,),
        betas=(0.01, 0.05, 0.1, 0.5, 2.0, 8.0),
        seeds=THREE,
        **{**SMALL_CNN, "test_images": 5000},
    ),
    # Per image from a tenth of those of the small preset's smallest to half of its largest. The probe is fitted to
    # held-out images, which the network has not seen either.
    "definitive": Size(
        sizes=(0.25,),
        betas=(0.0004, 0.004, 0.02, 0.1, 0.4, 1.6),
        seeds=FRESH[:5],
        holdout=10_000,
        validation_images=None,
        **OVERFITTING_CNN,
    ),
    "paper": Size(sizes=(1.0,), betas=(0.1, 0.5, 1.0, 2.0, 4.0, 8.0), seeds=THREE, **PAPER_CNN),
}
# Error of a guess among ten digits [%].
_CHANCE = 90
# Error of the probe at the smallest beta [%] above which it reads too little for a rise to be seen.
_BLIND = 80
# Passes of the probe over held-out images.
_DRAWS = 12
_DASHED = {"linestyle": "--", "markerfacecolor": "white"}


def runs(size: Size, _rows: pd.DataFrame) -> list[Planned]:
    """One fit a beta and seed."""
    return [
        Planned(
            cifar_run(
                size,
                fraction=fraction,
                data="occluded-cifar",
                beta_paper=beta,
                validation_limit=size.validation_images,
                seed=seed,
            )
        )
        for seed in size.seeds
        for fraction in size.sizes
        for beta in size.betas
    ]


def measure(run: RunSpec, result: Row, load: Load) -> list[Row]:
    """One row: the errors of the network, and of the probe on its noisy and its deterministic representation."""
    program, splits = load()
    training = run.training
    # Of held-out images every pass of the probe sees another draw of the noise.
    length = {"epochs": max(1, training.epochs // 2)}
    if splits.validation is not None:
        length = {"epochs": 1, "num_draws": _DRAWS}
    errors = probe_errors(program, splits, batch_size=training.batch_size, seed=training.seed, **length)
    return [{**common_row(run, result), **errors}]


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Both errors against beta, with the noise on and off."""
    figure, axes = new_figure(1, 2, width=9, height=4)
    betas, groups = by_beta(rows)
    tasks = (
        ("main task: the image", "test_error", BLUE),
        ("nuisance: the digit, read by the probe", "nuisance_error", VERMILION),
    )
    for ax, (title, column, colour) in zip(axes, tasks, strict=True):
        for kind, shift, look in (("noisy", -0.005, {}), ("deterministic", 0.005, _DASHED)):
            errors = [100 * group[f"{column}_{kind}"] for group in groups]
            name = f"{kind} ({kind[0].upper()})"
            draw_means(ax, dodged(betas, shift), errors, color=colour, label=name, **look)
        name_ticks(ax, betas, [f"{beta:g}" for beta in betas])
        ax.set(xlabel="β × N (N training images)", ylabel="test error [%]", title=title)
    axes[1].axhline(_CHANCE, color="black", linewidth=0.8, linestyle=":", label="chance")
    for ax in axes:
        ax.margins(y=0.15)
        ax.legend(fontsize="small")
    write_heading(
        figure,
        f"All-CNN-32, {100 * rows['size'].iloc[0]:.3g} % of the filters; {sizes_in_words(rows)}"
        f"{intervals_in_words(rows)}",
    )
    return figure


def nuisance_error_rises(rows: pd.DataFrame) -> Finding:
    """Whether the probe errs more with beta, and nowhere less than just before."""
    column = "nuisance_error_noisy"
    rows = complete_seeds(rows, ["setting"])
    betas, groups = by_beta(rows)
    if len(betas) < 3:
        return Finding("fewer than three betas have every run", [], UNDECIDED)
    series = [100 * by_seed(group, column) for group in groups]
    rise, falls = trend(series, rises=True), differences(series)
    word = every([rise])
    if word in (REPRODUCED, UNDECIDED) and any(fall.right <= LEVEL / len(falls) for fall in falls):
        word = NOT
    blind = mean_of(series[0]) > _BLIND
    reason = f"; at the smallest beta it errs by more than {_BLIND} %" if blind else ""
    ends = positive(series[-1] - series[0].loc[series[-1].index])
    words = (
        f"{series_in_words(rows, column)}; slope {rise} points a step (Page's p = {rise.right:.2g}); largest "
        "minus "
    )
    words += f"smallest beta {ends} points{reason}"
    return Finding(words, [rise], unless(word, reason))


FIGURE = Figure(
    name="fig4",
    title="main and nuisance error on Occluded CIFAR against beta",
    sizes=_SIZES,
    runs=runs,
    measure=measure,
    draw=draw,
    claims=(
        Claim(
            words="A larger beta makes the representation more invariant to the nuisance.",
            paper="the nuisance error rises with beta",
            rule="Page's test of a rise over beta, seeds as blocks, at 5 %; not reproduced if of a fall, or if some "
            "step falls "
            f"at 5 % divided by the steps; nothing to test if the probe errs by more than {_BLIND} % at the smallest "
            "beta",
            judge=nuisance_error_rises,
        ),
        Claim(
            words="Up to a point it also improves the main task.",
            paper="the main error falls with beta before it rises",
            rule=FALL_AND_RISE,
            judge=main_error_falls_first,
        ),
    ),
    remark="With a tenth of the paper's images, in the preset `small`, 0.01 to 0.8 weigh a nat per image as its "
    "0.1 to 8; 2 and 8 lie beyond. The small preset was revised after results were seen: β × N = 0.1, 0.5, "
    "2, 8, for which the probe's error rose by 3.8 ± 4.8 points over three seeds; 0.01 and 0.05 were added."
    " One seed alone, in an earlier run, had shown a rise of 15.7 ± 1.7; the probe differs by more from "
    "seed to seed. Said after the runs of the preset `definitive`: the main error falls by 3.25 points up "
    "to β × N = 0.4, and does not rise up to the largest, so that one half of the second claim is seen, and"
    " the point up to which it holds is not. A probe of the same layer with the noise off errs less from β "
    "× N = 0.02 on, by 2.5 to 7 points, and more with β as well: part of what hides the nuisance is the "
    "noise, part is what was learned.",
    samples="occluded-cifar",
)
