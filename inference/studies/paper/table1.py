"""Table 1: the variational lower bound of a VAE with Gaussian or information-dropout latents, at three sizes.

MNIST, each pixel binarised anew at every step, and once for the test. Beta is 1 per sample: anything else is no bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import matplotlib.figure
import pandas as pd

from inference.runs.spec import RunSpec
from inference.studies.paper.drawing import draw_means, intervals_in_words, new_figure, write_heading
from inference.studies.paper.evidence import FEW, MIN_SEEDS, Part, between, complete_seeds, every, positive
from inference.studies.paper.figure import Figure
from inference.studies.paper.methods import BLUE, GREEN, VERMILION
from inference.studies.paper.plan import FRESH, THREE, Load, Planned, Size, paper_run
from inference.studies.paper.statistics import (
    by_seed,
    common_row,
    interval,
    levels,
    mean_of,
    sizes_in_words,
)
from inference.studies.paper.verdicts import Claim, Finding

__all__ = ["FIGURE"]

Row = dict[str, Any]

_SIZES = {
    "smoke": Size(
        sizes=(1, 2), epochs=1, lr=1e-3, batch_size=50, train_images=100, test_images=50, control=True
    ),
    "small": Size(sizes=(1, 2, 3), epochs=30, drops=(24,), lr=1e-3, batch_size=128, train_images=10_000),
    "definitive": Size(
        sizes=(1, 2, 3),
        seeds=FRESH[:3],
        once=(2, 3),
        epochs=100,
        drops=(60, 90),
        lr=1e-3,
        batch_size=256,
        holdout=0,
        control=True,
    ),
    "paper": Size(
        sizes=(1, 2, 3), seeds=THREE, epochs=300, drops=(30, 120), lr=1e-3, batch_size=256, holdout=0
    ),
}
_LOOKS: dict[str, dict[str, Any]] = {
    "gaussian": {"label": "Gaussian", "color": VERMILION, "marker": "s"},
    "information": {"label": "information dropout", "color": BLUE, "marker": "o"},
}
_FREER = "information, exponential link, prior per unit"
_FREER_LOOK: dict[str, Any] = {
    "label": "the same, exponential link, prior per unit",
    "color": GREEN,
    "marker": "^",
}
# The bounds that the paper prints for k = 1, 2 and 3.
_PAPER = {"gaussian": (-98.8, -99.0, -98.7), "information": (-100.0, -99.1, -99.1)}
# Largest distance of two bounds that are about the same, in nats per image.
_CLOSE = 2.0


def runs(size: Size, _rows: pd.DataFrame) -> list[Planned]:
    """A fit for each latent, size k and seed; then one of each size of which one is enough."""
    options = {"model": "vae", "data": "mnist", "beta": 1.0, "optimizer": "adam"}
    # What the table shows is the bound of one draw.
    options |= {"num_samples": 1, "num_importance_samples": 0}
    cases = [(k, seed) for seed in size.seeds for k in size.sizes if k not in size.once]
    cases += [(k, size.seeds[0]) for k in size.once]
    forms: list[dict[str, Any]] = [{"latent": latent} for latent in _LOOKS]
    # What the gap of the information latents is owed to; at the sizes that have all the seeds.
    freer = {"latent": "information", "link": "exponential", "prior_per_unit": True}
    return [
        Planned(paper_run(size, k=int(k), seed=seed, **form, **options))
        for k, seed in cases
        for form in (*forms, *([freer] if size.control and k not in size.once else []))
    ]


def measure(run: RunSpec, result: Row, _load: Load) -> list[Row]:
    """One row: the bound on log p(x), in nats per test image."""
    bound = -(result["distortion"] + result["rate"])
    latent = _FREER if run.program.prior_per_unit else run.program.latent
    return [{**common_row(run, result), "latent": latent, "bound": bound}]


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """The table, and the same as points on an axis that shows the differences."""
    figure, (left, right) = new_figure(1, 2, width=10, height=4.2, width_ratios=[1.1, 1])
    sizes = levels(rows, "size")
    cells = []
    for shift, (latent, look) in zip((-0.06, 0.06), _LOOKS.items(), strict=True):
        groups = [rows["bound"][(rows["size"] == k) & (rows["latent"] == latent)] for k in sizes]
        draw_means(right, [k + shift for k in sizes], groups, **look)
        printed = {"color": look["color"], "marker": look["marker"], "markerfacecolor": "white"}
        label = f"{look['label']}, paper"
        bounds = dict(enumerate(_PAPER[latent], start=1))
        right.plot(
            [k + shift for k in sizes], [bounds[k] for k in sizes], linestyle="none", label=label, **printed
        )
        cells += [[_cell(group) for group in groups], [f"{bounds[k]:.1f}" for k in sizes]]
    names = [name for look in _LOOKS.values() for name in (look["label"], "   paper")]
    if _FREER in set(rows["latent"]):
        groups = [rows["bound"][(rows["size"] == k) & (rows["latent"] == _FREER)] for k in sizes]
        shown = [k for k, group in zip(sizes, groups, strict=True) if len(group)]
        draw_means(right, [k + 0.18 for k in shown], [group for group in groups if len(group)], **_FREER_LOOK)
        cells.append([_cell(group) if len(group) else "" for group in groups])
        names.append("   exponential, per unit")
    left.axis("off")
    table = left.table(
        cells, rowLabels=names, colLabels=[f"k = {k:g}" for k in sizes], loc="center", cellLoc="center"
    )
    table.scale(1, 1.6)
    left.set_title("lower bound of log p(x) [nats per test image]", fontsize="small", y=0.78)
    right.set_xticks(sizes, [f"{k:g}" for k in sizes])
    right.set(
        xlabel="size k (256 k latents, 512 k hidden units)", ylabel="bound [nats per image], higher is better"
    )
    right.margins(x=0.12)
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize="small")
    write_heading(
        figure,
        f"VAE, MNIST, binarised; {sizes_in_words(rows)}{_single_in_words(rows)}{_spread_in_words(rows)}",
    )
    return figure


def bounds_are_close(rows: pd.DataFrame) -> Finding:
    """Whether the two bounds are close at every size that has enough seeds."""
    return _within_reach(rows, "information", "Gaussian and information")


def freer_bounds_are_close(rows: pd.DataFrame) -> Finding:
    """Whether they are with an exponential link and a prior per unit."""
    return _within_reach(rows, _FREER, "Gaussian and information with both")


def freer_is_higher(rows: pd.DataFrame) -> Finding:
    """Whether an exponential link and a prior per unit raise the bound at every size that has enough seeds."""
    parts: list[Part] = []
    said = []
    for k, freer, plain in _pairs(rows, _FREER, "information"):
        gain = freer - plain
        parts.append(positive(gain))
        said.append(f"k = {k:g}: {mean_of(plain):.2f} and {mean_of(freer):.2f}, higher by {positive(gain)}")
    if not said:
        return Finding("there are no such fits", [], FEW)
    return Finding(f"without and with [nats per image]: {'; '.join(said)}", parts, every(parts))


def _within_reach(rows: pd.DataFrame, latent: str, names: str) -> Finding:
    judged: list[Part] = []
    told: list[Part] = []
    said = []
    for k, gaussian, information in _pairs(rows, "gaussian", latent):
        gap = gaussian - information
        (told if len(gap) < MIN_SEEDS else judged).extend(between(gap, _CLOSE))
        said.append(
            f"k = {k:g}: {mean_of(gaussian):.2f} and {mean_of(information):.2f}, Gaussian higher by {positive(gap)} "
            f"({len(gap)} seed{'s' if len(gap) > 1 else ''})"
        )
    if not said:
        return Finding("there are no such fits", [], FEW)
    return Finding(f"{names} [nats per image]: {'; '.join(said)}", judged or told, every(judged or told))


def _pairs(rows: pd.DataFrame, one: str, other: str) -> Iterator[tuple[float, pd.Series, pd.Series]]:
    """The bounds of two latents, at each size that both have, over the seeds that both have."""
    for k in levels(rows, "size"):
        both = rows[(rows["size"] == k) & rows["latent"].isin([one, other])]
        if set(both["latent"]) != {one, other}:
            continue
        complete = complete_seeds(both, ["latent"])
        if not complete.empty:
            first, second = (by_seed(complete[complete["latent"] == name], "bound") for name in (one, other))
            yield k, first, second


def _cell(bounds: pd.Series) -> str:
    mean, half = interval(bounds)
    return f"{mean:.2f}" if math.isnan(half) else f"{mean:.2f} ± {half:.2f}"


def _single_in_words(rows: pd.DataFrame) -> str:
    """Which sizes have one seed, where others have several."""
    seeds = rows.groupby("size")["seed"].nunique()
    single = [f"{k:g}" for k, count in seeds.items() if count == 1 < seeds.max()]
    return f", 1 at k = {' and '.join(single)}" if single else ""


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
            paper="-98.8 (Gaussian) and -100.0 at k = 1, -99.0 and -99.1 at k = 2, -98.7 and -99.1 at k = 3",
            rule=f"bounds within {_CLOSE:g} nats of each other, each side at 5 %, at every k of at least {MIN_SEEDS} "
            "seeds",
            judge=bounds_are_close,
        ),
        Claim(
            words="(ours) An exponential link and a prior per unit raise the bound of information dropout.",
            paper="no claim",
            rule="bound with both minus bound with softplus and one prior, at 5 %, one-sided",
            judge=freer_is_higher,
        ),
        Claim(
            words="(ours) With both it is about that of Gaussian latents.",
            paper="no claim",
            rule=f"bounds within {_CLOSE:g} nats of each other, each side at 5 %",
            judge=freer_bounds_are_close,
        ),
    ),
    remark="The information latent takes longer to fit: [VAE.md](VAE.md) has k = 1 after 300 epochs on all images."
    " Said after the runs: every bound is above the paper's; link and prior close more than half of the gap at k = 1. "
    "At k = 2 and 3 each latent has one seed, which is told and not judged: the gap there is no smaller.",
)
