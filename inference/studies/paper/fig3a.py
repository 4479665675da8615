"""Figure 3a: test error of a three-layer network on MNIST against its width, by kind of noise.

Every method first chooses its own strength (beta, drop probability, scale) among as many candidates as the others, by
its error on held-out images with the noise off, in short fits at one width. Then all of them are fitted at full length
at every width and seed. Beside them the paper's own protocol is fitted, a strength for each method that nobody
chose, or, at the other presets, a second beta at one width. Three more runs show what the two baselines and
information dropout do without batch norm.
"""

from __future__ import annotations

from typing import Any

import matplotlib.figure
import pandas as pd

from inference.runs.spec import RunSpec
from inference.studies.paper.drawing import draw_panels
from inference.studies.paper.evidence import every, positive
from inference.studies.paper.figure import Figure
from inference.studies.paper.methods import METHODS, chosen_options, has_chosen
from inference.studies.paper.plan import FRESH, THREE, TRIALS, Load, Planned, Size, paper_run
from inference.studies.paper.statistics import by_seed, common_row, full_runs, levels, size_name
from inference.studies.paper.verdicts import (
    Claim,
    D,
    Finding,
    N,
    errs_less,
    methods_at,
    not_overfitting,
    not_worse,
    unless,
)

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
    "definitive": Size(
        sizes=(32, 64, 128),
        seeds=FRESH,
        epochs=80,
        drops=(30, 70),
        lr=0.07,
        batch_size=128,
        validation_images=None,
        trial_epochs=80,
        candidates=5,
        trial_seeds=TRIALS,
        protocol=True,
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
    "information": (1.0, 0.3, 3.0, 0.1, 10.0),
    "binary": (0.25, 0.1, 0.5, 0.05, 0.4),
    "constant": (0.4, 0.2, 0.7, 0.1, 1.0),
}
# What nobody chose: the paper's drop probability and scale, and a beta of 1 times the number of images.
_PROTOCOL: dict[str, dict[str, Any]] = {
    "information": {"beta_paper": 1.0},
    "binary": {"drop_prob": 0.5},
    "constant": {"alpha": 0.7},
}
# Non-inferiority margin in percentage points, about twice the spread of a method's error over the seeds.
_MARGIN = 0.15


def runs(size: Size, rows: pd.DataFrame) -> list[Planned]:
    """Fits that choose, then, once these are done, the full ones."""
    width = sorted(size.sizes)[len(size.sizes) // 2]
    candidates = {name: values[: size.candidates] for name, values in _CANDIDATES.items()}
    trials = [
        _planned(
            size.trial,
            "choice",
            name,
            width,
            {str(METHODS[name].strength): value},
            size.validation_images,
            seed=seed,
        )
        for seed in size.trial_seeds
        for name, values in candidates.items()
        for value in values
    ]
    if not has_chosen(rows, candidates, len(size.trial_seeds)):
        return trials
    chosen = chosen_options(rows)
    second = max(value for value in candidates["information"] if value != chosen["information"]["beta_paper"])
    fits = [planned for seed in size.seeds for planned in _fits(size, seed, width, chosen, second)]
    bare = {**_PROTOCOL, "information": chosen["information"]}
    without = [
        _planned(
            size, "without batch norm", name, width, {**setting, "batch_norm": False}, seed=size.seeds[0]
        )
        for name, setting in bare.items()
    ]
    return [*trials, *fits, *without]


def _fits(size: Size, seed: int, width: float, chosen: dict[str, Any], second: float) -> list[Planned]:
    """All that a seed needs, so that a part of the seeds is a smaller study."""
    fits = [
        _planned(size, "full", name, each, chosen.get(name, {}), seed=seed)
        for each in size.sizes
        for name in METHODS
    ]
    if not size.protocol:
        return [
            *fits,
            _planned(size, "second beta", "information", width, {"beta_paper": second}, seed=seed),
        ]
    return fits + [
        _planned(size, "protocol", name, each, setting, seed=seed)
        for each in size.sizes
        for name, setting in _PROTOCOL.items()
    ]


def measure(run: RunSpec, result: Row, _load: Load) -> list[Row]:
    """One row: errors with and without noise."""
    return [common_row(run, result)]


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Error against width, a line a method: noise off, noise on, and the paper's protocol where it was fitted."""
    full, protocol = full_runs(rows), rows[rows["stage"] == "protocol"]
    panels = {
        "chosen strengths, noise off (D)": (full, D),
        "chosen strengths, one noise sample (N)": (full, N),
    }
    if len(protocol):
        none = full[full["dropout"] == "none"]
        panels["the paper's protocol, noise off (D)"] = (pd.concat([protocol, none]), D)
    return draw_panels(
        panels,
        xlabel="width of each hidden layer [units]",
        size_name=lambda width: f"{width:g}",
        caption="three hidden layers, MNIST",
    )


def gap_closes(rows: pd.DataFrame) -> Finding:
    """Whether binary dropout errs more at the smallest width, by more than at the largest."""
    found = methods_at(rows, "full", "information", "binary")
    binary, information = (found[found["dropout"] == name] for name in ("binary", "information"))
    widths = levels(information, "size")
    if len(widths) < 2:
        return Finding("fewer than two widths have every run", [], every([]))
    small, large = (
        100 * (by_seed(binary[binary["size"] == w], D) - by_seed(information[information["size"] == w], D))
        for w in (widths[0], widths[-1])
    )
    parts = [positive(small), positive(small - large)]
    reason = not_overfitting(methods_at(rows, "full", "none"), size_name)
    words = (
        f"binary's excess error: {parts[0]} points at width {widths[0]:g}, {positive(large)} at {widths[-1]:g}; it "
        f"shrinks by {parts[1]}{reason}"
    )
    return Finding(words, parts, unless(every(parts), reason))


def without_batch_norm(rows: pd.DataFrame) -> Finding:
    """What the methods do without batch norm; no verdict."""
    ours = "ours, no claim of the paper"
    bare = rows[rows["stage"] == "without batch norm"]
    if bare.empty:
        return Finding("there are no such fits", [], ours)
    width = bare["size"].iloc[0]
    full = full_runs(rows)
    seed = bare["seed"].iloc[0]
    kept = full[(full["size"] == width) & (full["seed"] == seed) & (full["dropout"] != "none")]
    parts, others = (
        ", ".join(f"{row['dropout']} {row['setting']:g}: {100 * row[D]:.1f} %" for _, row in part.iterrows())
        for part in (bare, kept)
    )
    words = f"width {width:g}, noise off, without: {parts}; with: {others}"
    return Finding(words, [], ours)


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
            rule="there is a gap at the smallest width, and it is larger than at the largest, each at 5 %, one-sided",
            judge=gap_closes,
        ),
        errs_less(
            "constant",
            words="It errs less than constant log-normal noise: what helps is that the noise adapts.",
            paper="lower error at every width",
        ),
        errs_less("none", words="It errs less than the same network without noise.", paper="no claim"),
        not_worse(
            ("binary", "constant", "none"),
            _MARGIN,
            words="It is comparable or better, with every method at the strength that it chose.",
            paper="comparable or better",
        ),
        errs_less(
            "binary",
            words="By the paper's protocol, strengths that nobody chose, it errs less than binary dropout.",
            paper="lower error at every width, drop probability 1/2",
            stage="protocol",
        ),
        errs_less(
            "constant",
            words="By the paper's protocol it errs less than constant log-normal noise.",
            paper="lower error at every width, scale 0.7",
            stage="protocol",
        ),
        errs_less(
            "binary",
            words="With one noise sample in the test it errs less than binary dropout.",
            paper="no claim",
            column=N,
        ),
        errs_less(
            "constant",
            words="With one noise sample in the test it errs less than constant noise.",
            paper="no claim",
            column=N,
        ),
        Claim(
            words="What batch norm does for the baselines.",
            paper="not shown",
            rule="a collapsed baseline would be no comparison",
            judge=without_batch_norm,
        ),
    ),
    remark="The runs of the preset `definitive` were fitted six at a time, as one compiled computation "
    "(`--side-by-side 6 --compile`); each has the numbers of its own fit, to rounding. Said after these "
    "runs: what the paper shows is seen by its own protocol, where binary dropout and constant noise have "
    "strengths that are too large for these networks. Where each method chooses, all four are alike, no "
    "noise among them.",
)
