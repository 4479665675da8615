"""Figure 5: test error and total correlation of an All-CNN-32's last noisy layer on CIFAR-10, against beta.

The total correlation is the Gaussian estimate of log z (hence softplus, whose z is never zero), with one noise sample
a test image. A finite sample biases it upwards, so its expectation for independent units stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ib_pyro.diagnostics import total_correlation
from inference.fit.sites import sample_sites
from inference.runs.spec import RunSpec
from inference.studies.paper.drawing import (
    BLUE,
    GREEN,
    ORANGE,
    VERMILION,
    dodged,
    draw_means,
    intervals_in_words,
    name_ticks,
    new_figure,
)
from inference.studies.paper.numbers import common_row, interval, select, sizes_in_words, values_of
from inference.studies.paper.plan import Load, Planned, cifar_run
from inference.studies.paper.presets import preset_size

__all__ = ["TITLE", "draw", "measure", "runs"]

TITLE = "test error and total correlation on CIFAR-10 against beta"
Row = dict[str, Any]

# Nats around zero in which a logarithmic axis is linear.
_LINEAR = 10.0
_ERRORS = {
    "test_error_noisy": (BLUE, "o", "noisy (N)"),
    "test_error_deterministic": (VERMILION, "s", "deterministic (D)"),
}
_CORRELATIONS = {
    "tc_estimate": (BLUE, "o", "estimate"),
    "tc_null": (ORANGE, "^", "null: independent units, same sample size"),
    "tc_corrected": (GREEN, "s", "difference"),
}


def runs(preset: str, _rows: Sequence[Row]) -> list[Planned]:
    """One fit a beta and seed."""
    size = preset_size("fig5", preset)
    return [
        Planned(cifar_run(size, fraction=fraction, activation="softplus", beta_paper=beta, seed=seed))
        for seed in size.seeds
        for fraction in size.sizes
        for beta in size.betas
    ]


def measure(run: RunSpec, result: Row, load: Load) -> list[Row]:
    """One row: the errors, and the total correlation in nats."""
    program, splits = load()
    site = list(program.stochastic_layers)[-1]
    z = sample_sites(program, splits.test.x, seed=run.training.seed)[site].flatten(1)
    # As many units as the samples can tell apart: of a smoke run's few images, a few.
    log_z = z[:, : max(1, len(z) // 3)].log()
    found = total_correlation(log_z)
    numbers = {
        "tc_estimate": found.estimate,
        "tc_null": found.null,
        "tc_corrected": found.corrected,
        "tc_per_dimension": found.per_dimension,
        "tc_dimensions": found.dimensions_used,
        "tc_samples": found.num_samples,
    }
    return [{**common_row(run, result), **numbers}]


def draw(rows: Sequence[Row]) -> Figure:
    """Errors on the left, total correlations on the right."""
    figure, (left, right) = new_figure(1, 2, width=9.5, height=4.2)
    betas = values_of(rows, "setting")
    for ax, lines, factor in ((left, _ERRORS, 100), (right, _CORRELATIONS, 1)):
        for place, (column, (colour, marker, label)) in enumerate(lines.items()):
            groups = [[factor * row[column] for row in select(rows, setting=beta)] for beta in betas]
            positions = dodged(betas, 0.008 * (place - (len(lines) - 1) / 2))
            draw_means(ax, positions, groups, color=colour, marker=marker, label=label)
        name_ticks(ax, betas, [f"{beta:g}" for beta in betas])
        ax.set_xlabel("β × N (N training images)")
        ax.legend(fontsize="small")
    left.set_ylabel("test error [%]")
    _scale_correlations(right, rows, betas)
    figure.suptitle(
        f"All-CNN-32, softplus, {100 * rows[0]['size']:.3g} % of the filters, "
        f"{rows[0]['tc_dimensions']:,} units of the last noisy layer;\n{sizes_in_words(rows)}"
        f"{intervals_in_words(rows)}",
        fontsize="small",
    )
    return figure


def _scale_correlations(ax: Axes, rows: Sequence[Row], betas: Sequence[float]) -> None:
    """Make the axis logarithmic; around zero linear, if a difference or its interval reaches it."""
    differences = [interval([row["tc_corrected"] for row in select(rows, setting=beta)]) for beta in betas]
    label = "total correlation of log z [nats]"
    if min(np.nanmin([mean, mean - half]) for mean, half in differences) > 0:
        ax.set_yscale("log")
    else:
        ax.set_yscale("symlog", linthresh=_LINEAR, linscale=0.5)
        ax.axhline(0, color="black", linewidth=0.6)
        # Matplotlib's own margin is too narrow for the points on this scale.
        low, high = ax.get_ylim()
        ax.set_ylim(1.6 * min(low, -_LINEAR), 1.6 * high)
        label += f",\nlinear within ± {_LINEAR:g}"
    ax.set_ylabel(label)
