"""Figure 4: what an All-CNN-32 keeps of a nuisance, on CIFAR-10 images occluded by digits, against beta.

The network classifies the image. A second network then tries to read the occluding digit from the first one's last
noisy layer, which is frozen: the more it errs, the more of the nuisance was left out.
"""

from __future__ import annotations

from typing import Any

import matplotlib.figure
import pandas as pd

from inference.runs.spec import RunSpec
from inference.studies.paper.drawing import dodged, draw_means, intervals_in_words, name_ticks, new_figure
from inference.studies.paper.figure import Figure
from inference.studies.paper.methods import BLUE, VERMILION
from inference.studies.paper.plan import (
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
from inference.studies.paper.statistics import all_gaps, common_row, sizes_in_words
from inference.studies.paper.verdicts import (
    FALL_AND_RISE,
    JOINTLY,
    NOT,
    REPRODUCED,
    Claim,
    Finding,
    basis_of,
    by_beta,
    main_error_falls_first,
    series_in_words,
    verdict,
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
    "paper": Size(sizes=(1.0,), betas=(0.1, 0.5, 1.0, 2.0, 4.0, 8.0), seeds=THREE, **PAPER_CNN),
}
# Error of a guess among ten digits [%].
_CHANCE = 90
_DASHED = {"linestyle": "--", "markerfacecolor": "white"}


def runs(size: Size, _rows: pd.DataFrame) -> list[Planned]:
    """One fit a beta and seed."""
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
    figure.suptitle(
        f"All-CNN-32, {100 * rows['size'].iloc[0]:.3g} % of the filters; {sizes_in_words(rows)}"
        f"{intervals_in_words(rows)}",
        fontsize="small",
    )
    return figure


def nuisance_error_rises(rows: pd.DataFrame) -> Finding:
    """Whether the probe errs more at the largest beta than at the smallest, and nowhere less than just before."""
    column = "nuisance_error_noisy"
    betas, groups = by_beta(rows)
    gaps = all_gaps(groups, column)
    ends = gaps[len(betas) - 1, 0]
    falls = [verdict(gaps[i, i + 1]) == REPRODUCED for i in range(len(betas) - 1)]
    words = f"{series_in_words(rows, column)}; largest minus smallest beta {ends} points"
    return Finding(words, basis_of([ends]), NOT if any(falls) else verdict(ends))


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
            rule=f"it is larger at the largest beta than at the smallest, and falls nowhere; {JOINTLY}",
            judge=nuisance_error_rises,
        ),
        Claim(
            words="Up to a point it also improves the main task.",
            paper="the main error falls with beta before it rises",
            rule=FALL_AND_RISE,
            judge=main_error_falls_first,
        ),
    ),
    remark="With a tenth of the paper's images, 0.01 to 0.8 here weigh a nat per image as its 0.1 to 8; 2 and 8 lie "
    "beyond. The small preset was revised after results were seen: β × N = 0.1, 0.5, 2, 8, for which the probe's "
    "error rose by 3.8 ± 4.8 points over three seeds; 0.01 and 0.05 were added. One seed alone, in an earlier run, "
    "had shown a rise of 15.7 ± 1.7; the probe differs by more from seed to seed.",
    samples="occluded-cifar",
)
