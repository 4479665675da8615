"""Figure 5: test error and total correlation of an All-CNN-32's last noisy layer on CIFAR-10, against beta.

The total correlation is the Gaussian estimate of log z (hence softplus, whose z is never zero), with one noise sample
a test image. A finite sample biases it upwards, so its expectation for independent units stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ib_pyro.diagnostics import total_correlation
from inference.paper.cifar import cifar_run
from inference.paper.drawing import BLUE, GREEN, ORANGE, VERMILION, new_figure
from inference.paper.execution import load_program
from inference.paper.numbers import common_row, sizes_in_words, values_of
from inference.paper.presets import preset_size
from inference.paper.run import PaperRun, Place
from inference.paper.sites import sample_sites

__all__ = ["TITLE", "draw", "measure", "runs"]

TITLE = "test error and total correlation on CIFAR-10 against beta"
Row = dict[str, Any]


def runs(preset: str, _rows: Sequence[Row]) -> list[PaperRun]:
    """One fit a beta and seed."""
    size = preset_size("fig5", preset)
    return [
        cifar_run(size, fraction=fraction, activation="softplus", beta_paper=beta, seed=seed)
        for seed in size.seeds
        for fraction in size.sizes
        for beta in size.betas
    ]


def measure(run: PaperRun, result: Row, place: Place) -> list[Row]:
    """One row: the errors, and the total correlation in nats."""
    program, splits = load_program(run, place)
    site = list(program.stochastic_layers)[-1]
    z = sample_sites(program, splits.test.x, seed=run.seed)[site].flatten(1)
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
    figure, (left, right) = new_figure(1, 2, width=9.5, height=4)
    betas = values_of(rows, "setting")
    for column, colour, label in (
        ("test_error_noisy", BLUE, "noisy (N)"),
        ("test_error_deterministic", VERMILION, "deterministic (D)"),
    ):
        _line(left, rows, betas, column, colour, label, factor=100)
    left.set(ylabel="test error [%]")
    for column, colour, label in (
        ("tc_estimate", BLUE, "estimate"),
        ("tc_null", ORANGE, "null: independent units, same sample size"),
        ("tc_corrected", GREEN, "difference"),
    ):
        _line(right, rows, betas, column, colour, label)
    right.set(ylabel="total correlation of log z [nats]", yscale="log")
    for ax in (left, right):
        ax.set(xscale="log", xlabel="β × N (N training images)")
        ax.set_xticks(betas, [f"{beta:g}" for beta in betas])
        ax.minorticks_off()
        ax.legend(fontsize="small")
    figure.suptitle(
        f"All-CNN-32, softplus, {100 * rows[0]['size']:.3g} % of the filters, {rows[0]['tc_dimensions']} units of the "
        f"last noisy layer;\n{sizes_in_words(rows)}",
        fontsize="small",
    )
    return figure


def _line(
    ax: Axes,
    rows: Sequence[Row],
    betas: Sequence[float],
    column: str,
    colour: str,
    label: str,
    factor: float = 1,
) -> None:
    groups = [[factor * row[column] for row in rows if row["setting"] == beta] for beta in betas]
    ax.plot(betas, [sum(group) / len(group) for group in groups], marker="o", color=colour, label=label)
    for beta, group in zip(betas, groups, strict=True):
        ax.plot([beta] * len(group), group, "o", color=colour, markersize=3)
