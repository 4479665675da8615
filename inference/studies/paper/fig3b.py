"""Figure 3b: test error of an All-CNN-32 with softplus on CIFAR-10 against its share of filters, by kind of noise.

Every method first chooses its own strength among as many candidates as the others, by its error on held-out images
with the noise off, in short fits at one share of the filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from inference.runs.spec import RunSpec
from inference.studies.paper.choice import STRENGTHS, chosen_options, has_chosen
from inference.studies.paper.drawing import METHODS, draw_errors
from inference.studies.paper.numbers import common_row, select
from inference.studies.paper.plan import Load, Planned, cifar_run
from inference.studies.paper.presets import preset_size

__all__ = ["TITLE", "draw", "measure", "runs"]

TITLE = "test error on CIFAR-10 against the share of the filters"
Row = dict[str, Any]

# What the baselines may choose from, the authors' own first; information dropout has the preset's betas.
_CANDIDATES: dict[str, tuple[float, ...]] = {"binary": (0.5, 0.1, 0.25), "constant": (0.7, 0.2, 0.4)}


def runs(preset: str, rows: Sequence[Row]) -> list[Planned]:
    """Fits that choose, then a fit for each kind of noise, share of the filters and seed."""
    size = preset_size("fig3b", preset)
    middle = sorted(size.sizes)[len(size.sizes) // 2]
    candidates = {
        name: values[: size.candidates] for name, values in {"information": size.betas, **_CANDIDATES}.items()
    }
    trials = [
        Planned(
            cifar_run(
                size.trial,
                fraction=middle,
                dropout=dropout,
                activation="softplus",
                validation_limit=size.validation_images,
                **{STRENGTHS[dropout]: value},
            ),
            {"stage": "choice"},
        )
        for dropout, values in candidates.items()
        for value in values
    ]
    if not has_chosen(rows, candidates):
        return trials
    chosen = chosen_options(rows)
    full = [
        Planned(
            cifar_run(
                size,
                fraction=fraction,
                seed=seed,
                dropout=dropout,
                activation="softplus",
                **chosen.get(dropout, {}),
            ),
            {"stage": "full"},
        )
        for seed in size.seeds
        for fraction in size.sizes
        for dropout in METHODS
    ]
    return [*trials, *full]


def measure(run: RunSpec, result: Row, _load: Load) -> list[Row]:
    """One row: errors with and without noise."""
    return [common_row(run, result)]


def draw(rows: Sequence[Row]) -> Figure:
    """Error against the share of the filters, a line a method, with and without noise in the test."""
    return draw_errors(
        select(rows, stage="full"),
        xlabel="share of the filters [%]",
        size_name=lambda share: f"{100 * share:.3g}",
        caption="All-CNN-32, softplus, CIFAR-10",
    )
