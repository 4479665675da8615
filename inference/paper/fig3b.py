"""Figure 3b: test error of an All-CNN-32 with softplus on CIFAR-10 against its share of filters, by kind of noise.

Strengths are the authors' (drop probability ½) or the preset's (beta), not chosen on held-out images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from inference.paper.cifar import cifar_run
from inference.paper.drawing import METHODS, new_figure
from inference.paper.numbers import common_row, interval, select, sizes_in_words, values_of
from inference.paper.presets import preset_size
from inference.paper.run import PaperRun, Place

__all__ = ["TITLE", "draw", "measure", "runs"]

TITLE = "test error on CIFAR-10 against the share of the filters"
Row = dict[str, Any]


def runs(preset: str, _rows: Sequence[Row]) -> list[PaperRun]:
    """A fit for each kind of noise, share of the filters and seed."""
    size = preset_size("fig3b", preset)
    strengths = {
        "information": {"beta_paper": size.betas[0]},
        "binary": {"drop_prob": 0.5},
        "constant": {"alpha": 0.7},
        "none": {},
    }
    return [
        cifar_run(size, fraction=fraction, seed=seed, dropout=dropout, activation="softplus", **strength)
        for seed in size.seeds
        for fraction in size.sizes
        for dropout, strength in strengths.items()
    ]


def measure(run: PaperRun, result: Row, _place: Place) -> list[Row]:
    """One row: errors with and without noise."""
    return [common_row(run, result)]


def draw(rows: Sequence[Row]) -> Figure:
    """Error against the share of the filters, a line a method, with and without noise in the test."""
    figure, axes = new_figure(1, 2, width=9.5, height=4.4, sharey=True)
    shares = values_of(rows, "size")
    kinds = (("test_error_deterministic", "noise off (D)"), ("test_error_noisy", "one noise sample (N)"))
    for ax, (column, name) in zip(axes, kinds, strict=True):
        for dropout, style in METHODS.items():
            groups = [
                [100 * row[column] for row in select(rows, dropout=dropout, size=share)] for share in shares
            ]
            means, halves = zip(*[interval(group) for group in groups], strict=True)
            ax.errorbar(shares, means, yerr=halves, capsize=3, **style)
        ax.set(xscale="log", xlabel="share of the filters [%]", title=name)
        ax.set_xticks(shares, [f"{100 * share:.3g}" for share in shares])
        ax.minorticks_off()
    axes[0].set_ylabel("test error [%]")
    axes[0].legend(fontsize="small")
    figure.suptitle(
        f"All-CNN-32, softplus, CIFAR-10; {sizes_in_words(rows)}; 95 % intervals where there are several seeds",
        fontsize="small",
    )
    return figure
