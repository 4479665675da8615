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

from inference.paper.choice import STRENGTHS, chosen_options, has_chosen
from inference.paper.drawing import METHODS, draw_errors
from inference.paper.numbers import common_row, select
from inference.paper.presets import preset_size
from inference.paper.run import PaperRun, Place

__all__ = ["TITLE", "draw", "measure", "runs"]

TITLE = "test error on MNIST against the width of three hidden layers"
Row = dict[str, Any]

# What each method may choose from; the first ones where a preset allows fewer.
_CANDIDATES: dict[str, tuple[float, ...]] = {
    "information": (1.0, 0.3, 3.0),
    "binary": (0.25, 0.1, 0.5),
    "constant": (0.4, 0.2, 0.7),
}


def runs(preset: str, rows: Sequence[Row]) -> list[PaperRun]:
    """Fits that choose, then, once these are done, the full ones."""
    size = preset_size("fig3a", preset)
    width = sorted(size.sizes)[len(size.sizes) // 2]
    candidates = {name: values[: size.candidates] for name, values in _CANDIDATES.items()}
    trials = [
        _run(preset, dropout, width, 0, {STRENGTHS[dropout]: value}, trial=True)
        for dropout, values in candidates.items()
        for value in values
    ]
    if not has_chosen(rows, candidates):
        return trials
    chosen = chosen_options(rows)
    full = [
        _run(preset, dropout, width, seed, chosen.get(dropout, {}))
        for seed in size.seeds
        for width in size.sizes
        for dropout in METHODS
    ]
    second = max(value for value in candidates["information"] if value != chosen["information"]["beta_paper"])
    again = [
        _run(preset, "information", width, seed, {"beta_paper": second}, stage="second beta")
        for seed in size.seeds
    ]
    bare = {"binary": {"drop_prob": 0.5}, "constant": {"alpha": 0.7}, "information": chosen["information"]}
    without = [_run(preset, name, width, 0, setting, batch_norm=False) for name, setting in bare.items()]
    return [*trials, *full, *again, *without]


def measure(run: PaperRun, result: Row, _place: Place) -> list[Row]:
    """One row: errors with and without noise."""
    known = "choice" if run.validation_images != 0 else "full" if run.batch_norm else "without batch norm"
    return [{"stage": run.stage or known, **common_row(run, result)}]


def draw(rows: Sequence[Row]) -> Figure:
    """Error against width, a line a method, with and without noise in the test."""
    return draw_errors(
        select(rows, stage="full"),
        xlabel="width of each hidden layer [units]",
        size_name=lambda width: f"{width:g}",
        caption="three hidden layers, MNIST",
    )


def _run(
    preset: str,
    dropout: str,
    width: float,
    seed: int,
    setting: dict[str, float],
    *,
    trial: bool = False,
    batch_norm: bool = True,
    stage: str | None = None,
) -> PaperRun:
    size = preset_size("fig3a", preset)
    size = size.trial if trial else size
    return PaperRun(
        model="mlp",
        data="mnist",
        size=width,
        dropout=dropout,
        batch_norm=batch_norm,
        epochs=size.epochs,
        drops=size.drops,
        lr=size.lr,
        batch_size=size.batch_size,
        holdout=size.holdout,
        train_images=size.train_images,
        validation_images=size.validation_images if trial else 0,
        test_images=size.test_images,
        num_samples=size.num_samples,
        seed=seed,
        stage=stage,
        **setting,
    )
