"""Figure 3a: test error of a three-layer network on MNIST against its width, by kind of noise.

Every method first chooses its own strength (beta, drop probability, scale) among as many candidates as the others, by
its error on held-out images with the noise off, in short fits at one width. Then all of them are fitted at full length
at every width and seed. A second beta at one width shows what more pressure does, and three more runs what the two
baselines and information dropout do without batch norm.
"""

from __future__ import annotations

import math
from typing import Any

import matplotlib.figure
import pandas as pd

from inference.runs.spec import RunSpec
from inference.studies.paper.drawing import draw_errors
from inference.studies.paper.figure import Figure
from inference.studies.paper.methods import METHODS, chosen_options, has_chosen
from inference.studies.paper.plan import THREE, Load, Planned, Size, paper_run
from inference.studies.paper.statistics import (
    Estimate,
    by_seed,
    common_row,
    error_gap,
    full_runs,
    levels,
    steps,
)
from inference.studies.paper.verdicts import Claim, D, Finding, all_of, basis_of, errs_less, verdict

__all__ = ["FIGURE"]

Row = dict[str, Any]

_SIZES = {
    "smoke": Size(
        sizes=(8, 16),
        seeds=(0, 1),
        epochs=2,
        drops=(1,),
        lr=0.07,
        train_images=200,
        validation_images=50,
        test_images=100,
        trial_epochs=1,
        candidates=2,
        num_samples=2,
    ),
    "small": Size(
        sizes=(32, 64, 128),
        seeds=THREE,
        epochs=80,
        drops=(40, 60),
        lr=0.07,
        batch_size=128,
        validation_images=None,
        trial_epochs=20,
        num_samples=16,
    ),
    "paper": Size(
        sizes=(32, 64, 128, 256, 512, 1024),
        seeds=(0, 1, 2, 3, 4),
        epochs=80,
        drops=(40, 60),
        lr=0.07,
        holdout=0,
        validation_images=None,
        trial_epochs=80,
        num_samples=16,
    ),
}
# What each method may choose from; the first ones where a preset allows fewer.
_CANDIDATES: dict[str, tuple[float, ...]] = {
    "information": (1.0, 0.3, 3.0),
    "binary": (0.25, 0.1, 0.5),
    "constant": (0.4, 0.2, 0.7),
}


def runs(size: Size, rows: pd.DataFrame) -> list[Planned]:
    """Fits that choose, then, once these are done, the full ones."""
    width = sorted(size.sizes)[len(size.sizes) // 2]
    candidates = {name: values[: size.candidates] for name, values in _CANDIDATES.items()}
    trials = [
        _planned(
            size.trial, "choice", name, width, {str(METHODS[name].strength): value}, size.validation_images
        )
        for name, values in candidates.items()
        for value in values
    ]
    if not has_chosen(rows, candidates):
        return trials
    chosen = chosen_options(rows)
    full = [
        _planned(size, "full", name, width, chosen.get(name, {}), seed=seed)
        for seed in size.seeds
        for width in size.sizes
        for name in METHODS
    ]
    second = max(value for value in candidates["information"] if value != chosen["information"]["beta_paper"])
    again = [
        _planned(size, "second beta", "information", width, {"beta_paper": second}, seed=seed)
        for seed in size.seeds
    ]
    bare = {"binary": {"drop_prob": 0.5}, "constant": {"alpha": 0.7}, "information": chosen["information"]}
    without = [
        _planned(size, "without batch norm", name, width, {**setting, "batch_norm": False})
        for name, setting in bare.items()
    ]
    return [*trials, *full, *again, *without]


def measure(run: RunSpec, result: Row, _load: Load) -> list[Row]:
    """One row: errors with and without noise."""
    return [common_row(run, result)]


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Error against width, a line a method, with and without noise in the test."""
    return draw_errors(
        full_runs(rows),
        xlabel="width of each hidden layer [units]",
        size_name=lambda width: f"{width:g}",
        caption="three hidden layers, MNIST",
    )


def gap_closes(rows: pd.DataFrame) -> Finding:
    """Whether binary dropout errs more at the smallest width, by more than at the largest."""
    full = full_runs(rows)
    binary, information = (full[full["dropout"] == name] for name in ("binary", "information"))
    widths = levels(information, "size")
    ends = (widths[0], widths[-1])
    pairs = [(binary[binary["size"] == w], information[information["size"] == w]) for w in ends]
    small, large = (error_gap(*pair, D, parts=2) for pair in pairs)
    if len(levels(information, "seed")) > 1:
        excess = [100 * (by_seed(more, D) - by_seed(less, D)) for more, less in pairs]
        (change,) = steps(excess, parts=2)
    else:
        change = Estimate(small.value - large.value, math.hypot(small.half, large.half), small.basis)
    words = (
        f"binary's excess error: {small} points at width {widths[0]:g}, {large} at {widths[-1]:g}; it shrinks by "
        f"{change}"
    )
    return Finding(words, basis_of([small, change]), all_of([verdict(small), verdict(change)]))


def without_batch_norm(rows: pd.DataFrame) -> Finding:
    """What the methods do without batch norm; no verdict."""
    bare = rows[rows["stage"] == "without batch norm"]
    width = bare["size"].iloc[0]
    full = full_runs(rows)
    kept = full[(full["size"] == width) & (full["seed"] == 0) & (full["dropout"] != "none")]
    parts, others = (
        ", ".join(f"{row['dropout']} {row['setting']:g}: {100 * row[D]:.1f} %" for _, row in part.iterrows())
        for part in (bare, kept)
    )
    words = f"width {width:g}, noise off, without: {parts}; with: {others}"
    return Finding(words, "one fit each", "ours, no claim of the paper")


def _planned(
    size: Size,
    stage: str,
    dropout: str,
    width: float,
    settings: dict[str, Any],
    validation_images: int | None = 0,
    *,
    seed: int = 0,
) -> Planned:
    spec = paper_run(
        size,
        model="mlp",
        data="mnist",
        hidden=int(width),
        dropout=dropout,
        validation_limit=validation_images,
        seed=seed,
        **settings,
    )
    return Planned(spec, {"stage": stage})


FIGURE = Figure(
    name="fig3a",
    title="test error on MNIST against the width of three hidden layers",
    sizes=_SIZES,
    runs=runs,
    measure=measure,
    draw=draw,
    claims=(
        errs_less(
            "binary",
            words="Information dropout errs less than binary dropout on MNIST.",
            paper="lower error at every width, 3 runs",
        ),
        Claim(
            words="It does so most on small networks.",
            paper="the gap closes with the width",
            rule="there is a gap at the smallest width, and it is larger than at the largest: both intervals lie "
            "above zero",
            judge=gap_closes,
        ),
        errs_less(
            "constant",
            words="It errs less than constant log-normal noise: what helps is that the noise adapts.",
            paper="lower error at every width",
        ),
        errs_less("none", words="It errs less than the same network without noise.", paper="no claim"),
        Claim(
            words="What batch norm does for the baselines.",
            paper="not shown",
            rule="a collapsed baseline would be no comparison",
            judge=without_batch_norm,
        ),
    ),
)
