"""Figure 3a: test error of a three-layer network on MNIST against its width, by kind of noise.

Every method first chooses its own strength (beta, drop probability, scale) among as many candidates as the others, by
its error on held-out images with the noise off, in short fits at one width. Then all of them are fitted at full length
at every width and seed. A second beta at one width shows what more pressure does, and three more runs what the two
baselines and information dropout do without batch norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from inference.runs.spec import RunSpec
from inference.studies.paper.choice import STRENGTHS, chosen_options, has_chosen
from inference.studies.paper.drawing import METHODS, draw_errors
from inference.studies.paper.numbers import common_row, select
from inference.studies.paper.plan import Load, Planned, paper_run
from inference.studies.paper.presets import Size, preset_size

__all__ = ["TITLE", "draw", "measure", "runs"]

TITLE = "test error on MNIST against the width of three hidden layers"
Row = dict[str, Any]

# What each method may choose from; the first ones where a preset allows fewer.
_CANDIDATES: dict[str, tuple[float, ...]] = {
    "information": (1.0, 0.3, 3.0),
    "binary": (0.25, 0.1, 0.5),
    "constant": (0.4, 0.2, 0.7),
}


def runs(preset: str, rows: Sequence[Row]) -> list[Planned]:
    """Fits that choose, then, once these are done, the full ones."""
    size = preset_size("fig3a", preset)
    width = sorted(size.sizes)[len(size.sizes) // 2]
    candidates = {name: values[: size.candidates] for name, values in _CANDIDATES.items()}
    trials = [
        _planned(size.trial, "choice", dropout, width, {STRENGTHS[dropout]: value}, size.validation_images)
        for dropout, values in candidates.items()
        for value in values
    ]
    if not has_chosen(rows, candidates):
        return trials
    chosen = chosen_options(rows)
    full = [
        _planned(size, "full", dropout, width, chosen.get(dropout, {}), seed=seed)
        for seed in size.seeds
        for width in size.sizes
        for dropout in METHODS
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


def draw(rows: Sequence[Row]) -> Figure:
    """Error against width, a line a method, with and without noise in the test."""
    return draw_errors(
        select(rows, stage="full"),
        xlabel="width of each hidden layer [units]",
        size_name=lambda width: f"{width:g}",
        caption="three hidden layers, MNIST",
    )


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
