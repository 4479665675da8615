"""Figure 6: total and per-unit rate of each noisy layer of an All-CNN-32 on CIFAR-10, against the share of filters.

Softplus with the log-normal prior, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from ib_pyro import Bottleneck
from inference.fit.sites import sample_sites
from inference.runs.spec import RunSpec
from inference.studies.paper.drawing import (
    BLUE,
    VERMILION,
    dodged,
    draw_means,
    intervals_in_words,
    name_ticks,
    new_figure,
)
from inference.studies.paper.numbers import common_row, select, sizes_in_words, values_of
from inference.studies.paper.plan import Load, Planned, cifar_run
from inference.studies.paper.presets import preset_size

__all__ = ["TITLE", "draw", "measure", "runs"]

TITLE = "rate of each layer against the share of the filters"
Row = dict[str, Any]

_LOOKS = ((BLUE, "o"), (VERMILION, "s"))


def runs(preset: str, _rows: Sequence[Row]) -> list[Planned]:
    """One fit a share of the filters, beta and seed."""
    size = preset_size("fig6", preset)
    return [
        Planned(cifar_run(size, fraction=fraction, activation="softplus", beta_paper=beta, seed=seed))
        for seed in size.seeds
        for beta in size.betas
        for fraction in size.sizes
    ]


def measure(run: RunSpec, result: Row, load: Load) -> list[Row]:
    """A row a site: its number of units, and its rate in total and per unit."""
    program, splits = load()
    units = _units(program, splits.test.x[:2])
    return [
        {
            "site": site,
            "units": count,
            "site_rate": result[f"rate/{site}"],
            "rate_per_unit": result[f"rate/{site}"] / count,
            **common_row(run, result),
        }
        for site, count in units.items()
    ]


def draw(rows: Sequence[Row]) -> Figure:
    """Total rate on the left, rate per unit on the right."""
    figure, axes = new_figure(1, 2, width=9, height=4)
    shares, sites = values_of(rows, "size"), values_of(rows, "site")
    for ax, column, label in (
        (axes[0], "site_rate", "rate [nats per sample]"),
        (axes[1], "rate_per_unit", "rate per unit [nats]"),
    ):
        for place, (site, (colour, marker)) in enumerate(zip(sites, _LOOKS, strict=False)):
            groups = [[row[column] for row in select(rows, size=share, site=site)] for share in shares]
            positions = dodged(shares, 0.01 * (place - (len(sites) - 1) / 2))
            draw_means(ax, positions, groups, color=colour, marker=marker, label=site)
        name_ticks(ax, shares, [f"{100 * share:.3g}" for share in shares])
        ax.set(xlabel="share of the filters [%]", ylabel=label, ylim=(0, None))
        ax.legend(fontsize="small", title="noisy layer")
    figure.suptitle(
        f"All-CNN-32, softplus, CIFAR-10, β × N = {rows[0]['setting']:g}; {sizes_in_words(rows)}"
        f"{intervals_in_words(rows)}",
        fontsize="small",
    )
    return figure


def _units(program: Bottleneck, x: Tensor) -> dict[str, int]:
    return {site: value[0].numel() for site, value in sample_sites(program, x).items()}
