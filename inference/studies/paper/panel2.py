"""Panel 2 (ours): our All-CNN-32 on CIFAR-10 beside that of the authors' code, and beside single steps towards it.

Where the authors' code differs from ours, and why, stands in ``DIFFERENCES``. What that changes is measured with the
whole variant (:mod:`models.authors`), and with two of its settings alone.
"""

from __future__ import annotations

from typing import Any

import matplotlib.figure
import numpy as np
import pandas as pd

from inference.runs.spec import RunSpec
from inference.studies.paper.drawing import draw_means, intervals_in_words, new_figure, write_heading
from inference.studies.paper.evidence import between, complete_seeds, differences, every
from inference.studies.paper.figure import Figure
from inference.studies.paper.methods import BLUE, VERMILION
from inference.studies.paper.plan import FRESH, SMALL_CNN, SMOKE_CNN, Load, Planned, Size, cifar_run
from inference.studies.paper.statistics import by_seed, common_row, levels, mean_of, sizes_in_words
from inference.studies.paper.verdicts import Claim, D, Finding

__all__ = ["DIFFERENCES", "FIGURE"]

Row = dict[str, Any]

_SIZES = {
    "smoke": Size(sizes=(1 / 12,), betas=(0.1,), **SMOKE_CNN),
    # Ours are fits of Figures 1 and 6.
    "definitive": Size(sizes=(0.25,), betas=(0.5,), seeds=FRESH[:3], **SMALL_CNN),
}
_OURS, _AUTHORS, _ATOM, _PRIORS = "ours", "authors", "atom ignored", "priors free"
_NAMES = (_OURS, _ATOM, _PRIORS, _AUTHORS)
# Settings of the runs, by the name of what is changed; each only where it makes a difference.
_CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "relu": {_OURS: {}, _ATOM: {"atom": "ignore"}},
    "softplus": {_OURS: {}, _PRIORS: {"steady_priors": False}},
}
_THEIRS = {"variant": "authors", "steady_priors": False, "nesterov": True}
# Points of the test error within which the two are said to be as good.
_TIE = 3.0

DIFFERENCES = (
    (
        "batch norm",
        "an offset and no scale, 1e-3 beside the variance (TensorFlow's defaults)",
        "a scale too, 1e-5",
        "PyTorch's defaults; with a scale, a softplus network may shrink its activations instead of adding noise",
    ),
    ("initial values", "Xavier's uniform weights, biases of zero", "PyTorch's own", "PyTorch's defaults"),
    (
        "padding",
        '"SAME": a stride-2 convolution pads the end alone',
        "one on each side",
        "PyTorch's defaults",
    ),
    (
        "units that are off",
        "charged as if they were on",
        "the atom at zero, free at gate 1",
        "what the prior says: the log-uniform prior has a mass at zero",
    ),
    (
        "log-normal prior",
        "log f from 1e-4 on; its mean and scale learn at the network's rate, weight decay included",
        "log f exactly; a rate of their own, without weight decay",
        "at a large β their rate throws them off",
    ),
    ("noise", "0.001 + 0.7 · sigmoid", "0.001 + 0.699 · sigmoid", "the largest noise is the option, 0.7"),
    ("selection", "on the test images", "on held-out images", "the test images are for the test"),
    ("images", "CIFAR-10 from its binary files", "from JPEGs", "what was at hand"),
    (
        "fits",
        "50,000 images, batch 100, 200 epochs: 100,000 steps",
        "2,000 to 10,000 images, batch 50: some 1,500 steps",
        "a CPU; presets `paper` and `code` have theirs",
    ),
)
"""Where the authors' code differs from ours: what, theirs, ours, and why."""


def runs(size: Size, _rows: pd.DataFrame) -> list[Planned]:
    """Each change under each activation that it concerns, seed by seed."""
    planned = []
    for seed in size.seeds:
        for activation, changes in _CHANGES.items():
            for name, settings in {**changes, _AUTHORS: _THEIRS}.items():
                options = {"activation": activation, "beta_paper": size.betas[0], "seed": seed, **settings}
                spec = cifar_run(size, fraction=size.sizes[0], **options)
                planned.append(Planned(spec, {"change": name}))
    return planned


def measure(run: RunSpec, result: Row, _load: Load) -> list[Row]:
    """The row of a run."""
    return [common_row(run, result)]


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Rate on the left and test error on the right, a colour an activation."""
    figure, axes = new_figure(1, 2, width=9, height=4)
    names = [name for name in _NAMES if name in set(rows["change"])]
    for place, (activation, colour) in enumerate((("relu", BLUE), ("softplus", VERMILION))):
        own = rows[rows["activation"] == activation]
        there = [name for name in names if name in set(own["change"])]
        positions = [names.index(name) + 0.16 * (place - 0.5) for name in there]
        for ax, column, factor in ((axes[0], "rate", 1.0), (axes[1], D, 100.0)):
            groups = [factor * own.loc[own["change"] == name, column] for name in there]
            draw_means(ax, positions, groups, color=colour, marker="o", linestyle="none", label=activation)
    for ax, label in zip(axes, ("rate [nats per sample]", "test error D [%]"), strict=True):
        ax.set_xticks(range(len(names)), names)
        ax.set(ylabel=label, xlim=(-0.5, len(names) - 0.5))
        ax.margins(y=0.15)
    axes[0].set_yscale("log")
    axes[0].legend(fontsize="small")
    first = rows.iloc[0]
    write_heading(
        figure,
        f"All-CNN-32, {100 * first['size']:.3g} % of the filters, CIFAR-10, β × N = {first['setting']:g}; "
        f"{sizes_in_words(rows)}{intervals_in_words(rows)}",
    )
    return figure


def scale_cuts_the_rate(rows: pd.DataFrame) -> Finding:
    """Whether a softplus network lets more through as the authors build it, at the same beta."""
    own = complete_seeds(_both(rows, "softplus"), ["change"])
    theirs, ours = (by_seed(own[own["change"] == name], "rate") for name in (_AUTHORS, _OURS))
    parts = differences([theirs, ours], log=True)
    words = f"softplus, nats per sample: authors {mean_of(theirs):,.0f}, ours {mean_of(ours):,.0f}"
    factors = f"factor {np.exp(parts[0].value):.2f}" if parts else ""
    return Finding(f"{words}; {factors}", parts, every(parts))


def errs_as_much(rows: pd.DataFrame) -> Finding:
    """Whether both variants err alike, under both activations."""
    said, parts = [], []
    for activation in levels(rows, "activation"):
        own = complete_seeds(_both(rows, activation), ["change"])
        theirs, ours = (by_seed(own[own["change"] == name], D) for name in (_AUTHORS, _OURS))
        parts += between(100 * (theirs - ours.loc[theirs.index]), _TIE)
        said.append(f"{activation}: authors {100 * mean_of(theirs):.1f} %, ours {100 * mean_of(ours):.1f} %")
    return Finding("; ".join(said), parts, every(parts))


def what_changes(rows: pd.DataFrame) -> list[str]:
    """Lines of a table: rate and test error of each change, and how they differ from ours within a seed."""
    lines = [
        "What that changes, where it was measured: means over the seeds, and the factor or the difference to ours "
        "with its 90 % interval:",
        "",
        "| activation | built | seeds | rate [nats] | over ours | D [%] | more than ours [points] |",
        "|---|---|---|---|---|---|---|",
    ]
    for activation in levels(rows, "activation"):
        for name in _NAMES:
            own = rows[(rows["activation"] == activation) & rows["change"].isin([_OURS, name])]
            own = complete_seeds(own, ["change"])
            if not (own["change"] == name).any():
                continue
            rates, errors = (
                [by_seed(own[own["change"] == each], column) for each in (name, _OURS)]
                for column in ("rate", D)
            )
            factor, points = "", ""
            if name != _OURS and len(rates[0]) > 1:
                [ratio] = differences(rates, log=True)
                [more] = differences([100 * part for part in errors])
                low, high = (np.exp(ratio.value + sign * ratio.half) for sign in (-1, 1))
                factor = f"{np.exp(ratio.value):.2f} [{low:.2f}, {high:.2f}]"
                points = f"{round(more.value, 1) + 0.0:+.1f} ± {more.half:.1f}"
            cells = (activation, name, str(len(rates[0])), f"{mean_of(rates[0]):,.0f}", factor)
            lines.append(f"| {' | '.join((*cells, f'{100 * mean_of(errors[0]):.1f}', points))} |")
    return lines


def _both(rows: pd.DataFrame, activation: str) -> pd.DataFrame:
    return rows[(rows["activation"] == activation) & rows["change"].isin([_OURS, _AUTHORS])]


FIGURE = Figure(
    name="panel2",
    title="how ours differs from the authors' code, and what that changes",
    sizes=_SIZES,
    runs=runs,
    measure=measure,
    draw=draw,
    claims=(
        Claim(
            words="(ours) Built as in the authors' code, a softplus network lets more nats through at the same β: "
            "batch norm without a scale cannot shrink them.",
            paper="no claim",
            rule="log rate of the variant minus that of ours, at 5 %, one-sided",
            judge=scale_cuts_the_rate,
        ),
        Claim(
            words="(ours) Both err alike.",
            paper="no claim",
            rule=f"D within {_TIE:g} points of each other, under both activations, each side at 5 %",
            judge=errs_as_much,
        ),
    ),
    table=what_changes,
    remark="\n".join(
        [
            "Where the authors' code (github.com/ucla-vision/information-dropout) differs from ours:",
            "",
            "| what | theirs | ours | why |",
            "|---|---|---|---|",
            *(f"| {' | '.join(line)} |" for line in DIFFERENCES),
            "",
            "At this β the rate of their own that learned priors have with us is the network's (it is lower from "
            "β × N = 4 on), so that nothing but weight decay tells *priors free* from *ours*.",
        ]
    ),
)
