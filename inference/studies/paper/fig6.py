"""Figure 6: total and per-unit rate of each noisy layer of an All-CNN-32 on CIFAR-10, against the share of filters.

Softplus with the log-normal prior, as in the paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib.figure
import numpy as np
import pandas as pd

from ib_pyro.training.noisy_sites import sample_sites
from inference.runs.spec import RunSpec
from inference.studies.paper.drawing import (
    dodged,
    draw_means,
    intervals_in_words,
    name_ticks,
    new_figure,
    write_heading,
)
from inference.studies.paper.evidence import Part, between, complete_seeds, differences, every, positive
from inference.studies.paper.figure import Figure
from inference.studies.paper.methods import BLUE, VERMILION
from inference.studies.paper.plan import (
    FRESH,
    PAPER_CNN,
    PER_IMAGE,
    SMALL_CNN,
    SMOKE_CNN,
    THREE,
    Load,
    Planned,
    Size,
    cifar_run,
)
from inference.studies.paper.statistics import (
    by_seed,
    common_row,
    levels,
    mean_of,
    size_name,
    sizes_in_words,
)
from inference.studies.paper.verdicts import NOTHING, Claim, Finding, unless

__all__ = ["FIGURE"]

Row = dict[str, Any]

_SIZES = {
    "smoke": Size(sizes=(1 / 24, 1 / 12), betas=(3.0,), **SMOKE_CNN),
    "small": Size(sizes=(0.0625, 0.125, 0.25), betas=(0.5,), seeds=THREE, **SMALL_CNN),
    "definitive": Size(sizes=(0.125, 0.25, 0.5), betas=(0.5,), seeds=FRESH[:5], **SMALL_CNN),
    "paper": Size(sizes=(0.25, 0.5, 0.75, 1.0), betas=(3.0,), seeds=THREE, **PAPER_CNN),
}
_LOOKS = ((BLUE, "o"), (VERMILION, "s"))
# Largest exponent a of a rate that grows as the number of filters to the a: 0 is flat, 1 in proportion.
_FLATNESS = 0.25


def runs(size: Size, _rows: pd.DataFrame) -> list[Planned]:
    """One fit a share of the filters, beta and seed."""
    return [
        Planned(cifar_run(size, fraction=fraction, activation="softplus", beta_paper=beta, seed=seed))
        for seed in size.seeds
        for beta in size.betas
        for fraction in size.sizes
    ]


def measure(run: RunSpec, result: Row, load: Load) -> list[Row]:
    """A row a site: its number of units, and its rate in total and per unit."""
    program, splits = load()
    drawn = sample_sites(program, splits.test.x[:2])
    units = {site: z[0].numel() for site, z in drawn.items()}
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


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Total rate on the left, rate per unit on the right."""
    figure, axes = new_figure(1, 2, width=9, height=4)
    shares, sites = levels(rows, "size"), levels(rows, "site")
    for ax, column, label in (
        (axes[0], "site_rate", "rate [nats per sample]"),
        (axes[1], "rate_per_unit", "rate per unit [nats]"),
    ):
        for place, (site, (colour, marker)) in enumerate(zip(sites, _LOOKS, strict=False)):
            groups = [group[column] for group in _by_share(rows, site)]
            positions = dodged(shares, 0.01 * (place - (len(sites) - 1) / 2))
            draw_means(ax, positions, groups, color=colour, marker=marker, label=site)
        name_ticks(ax, shares, [f"{100 * share:.3g}" for share in shares])
        ax.set(xlabel="share of the filters [%]", ylabel=label, ylim=(0, None))
        ax.legend(fontsize="small", title="noisy layer")
    write_heading(
        figure,
        f"All-CNN-32, softplus, CIFAR-10, β × N = {rows['setting'].iloc[0]:g}; {sizes_in_words(rows)}"
        f"{intervals_in_words(rows)}",
    )
    return figure


def total_rate_is_flat(rows: pd.DataFrame) -> Finding:
    """Whether each layer's total rate grows as a small power of the number of filters."""
    rows = complete_seeds(rows, ["size", "site"])
    shares = levels(rows, "size")
    parts: list[Part] = []
    said = []
    for site in levels(rows, "site"):
        series = [by_seed(group, "site_rate") for group in _by_share(rows, site)]
        if len(series) > 1 and _lets_through(rows):
            table = np.log(np.stack([rates.loc[series[0].index] for rates in series]))
            exponents = np.polyfit(np.log(shares), table, 1)[0]
            parts += between(exponents, _FLATNESS)
            shown = f" (exponent {positive(exponents)})"
        else:
            shown = ""
        said.append(f"{site} {', '.join(f'{mean_of(values):,.0f}' for values in series)}{shown}")
    words = f"nats at {', '.join(size_name(share) for share in shares)}: {'; '.join(said)}"
    return _finding(words, parts, rows)


def unit_rate_falls(rows: pd.DataFrame) -> Finding:
    """Whether the rate per unit falls as filters are added, in each layer."""
    rows = complete_seeds(rows, ["size", "site"])
    said: list[str] = []
    falls: list[Part] = []
    for site in levels(rows, "site"):
        series = [by_seed(group, "rate_per_unit") for group in _by_share(rows, site)]
        found = differences(series, log=True) if _lets_through(rows) else []
        falls += found
        steps = f" (each step by a factor of {_factors(found)})" if found else ""
        said.append(f"{site} {', '.join(f'{mean_of(values):.3f}' for values in series)}{steps}")
    return _finding(f"nats per unit, filters ascending: {'; '.join(said)}", falls, rows)


def second_layer_lets_less_through(rows: pd.DataFrame) -> Finding:
    """Whether the second layer lets less through in total, and more per unit, at every share of the filters."""
    rows = complete_seeds(rows, ["size", "site"])
    less: list[Part] = []
    more: list[Part] = []
    if _lets_through(rows):
        for first, second in zip(_by_share(rows, "z1"), _by_share(rows, "z2"), strict=True):
            less += differences([by_seed(group, "site_rate") for group in (first, second)], log=True)
            more += differences([by_seed(group, "rate_per_unit") for group in (second, first)], log=True)
    words = (
        f"by share of the filters {', '.join(size_name(share) for share in levels(rows, 'size'))}: first layer more "
        "in "
        f"total by a factor of {_factors(less)}; second more per unit by a factor of {_factors(more)}"
    )
    return _finding(words, [*less, *more], rows)


def _lets_through(rows: pd.DataFrame) -> bool:
    return not rows.empty and bool((rows["site_rate"] >= NOTHING).all())


def _finding(words: str, parts: list[Part], rows: pd.DataFrame) -> Finding:
    silent = not rows.empty and not _lets_through(rows)
    reason = f"; a layer lets less than {NOTHING:g} nat through" if silent else ""
    return Finding(f"{words}{reason}", parts, unless(every(parts), reason))


def _factors(parts: list[Part]) -> str:
    """Differences of logarithms as factors, with their intervals."""
    factors = []
    for part in parts:
        ends = (
            ""
            if np.isnan(part.half)
            else f" [{np.exp(part.value - part.half):.2f}, {np.exp(part.value + part.half):.2f}]"
        )
        factors.append(f"{np.exp(part.value):.2f}{ends}")
    return ", ".join(factors)


def _by_share(rows: pd.DataFrame, site: str) -> Iterator[pd.DataFrame]:
    """A site's rows at each share of the filters, ascending."""
    for _, group in rows[rows["site"] == site].groupby("size"):
        yield group


FIGURE = Figure(
    name="fig6",
    title="rate of each layer against the share of the filters",
    sizes=_SIZES,
    runs=runs,
    measure=measure,
    draw=draw,
    claims=(
        Claim(
            words="The information that a layer lets through hardly depends on the number of filters.",
            paper="nearly flat",
            rule=f"rate ∝ filters to an exponent, fitted to each seed, within ±{_FLATNESS:g} in both layers (0: "
            "flat, 1: in "
            "proportion), each side at 5 %",
            judge=total_rate_is_flat,
        ),
        Claim(
            words="With fewer filters each unit lets more through.",
            paper="falls with the filters",
            rule="the log rate per unit falls from share to share, in both layers, each step at 5 %, one-sided",
            judge=unit_rate_falls,
        ),
        Claim(
            words="The second layer lets less through in total, and more per unit.",
            paper="so in the figure",
            rule="both, at every share of the filters, log rates, each at 5 %, one-sided",
            judge=second_layer_lets_less_through,
        ),
    ),
    remark=f"{PER_IMAGE} Said after the runs: the preset `small`, with shares of 6.25 to 25 %, had the second layer "
    "let less through in total at every share. At half of the filters it is the other way round, since its rate grows "
    "with its width and the first layer's does not. Whether that goes on to all of the filters, or ends with "
    "longer fits on more images, is not known here.",
)
