"""What a figure's numbers say of a claim: functions from its rows to a finding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import norm

from inference.studies.paper.estimates import (
    NOT,
    REPRODUCED,
    UNDECIDED,
    Estimate,
    all_gaps,
    all_of,
    by_seed,
    error_gap,
    mean_estimate,
    steps,
    verdict,
    within,
)
from inference.studies.paper.numbers import select, size_name, values_of

__all__ = [
    "FLATNESS",
    "Finding",
    "bounds_are_close",
    "errs_less",
    "follows_the_prior",
    "gap_closes",
    "main_error_falls_first",
    "nuisance_error_rises",
    "rate_outside_falls",
    "second_layer_lets_less_through",
    "share_beyond_chance",
    "total_correlation_falls",
    "total_rate_is_flat",
    "unit_rate_falls",
    "without_batch_norm",
]

Row = dict[str, Any]
D, N = "test_error_deterministic", "test_error_noisy"

# Largest distance from the prior, in standard deviations of log z.
_DISTANCE = 0.25
# Nats below which a layer lets nothing through, and what would be said of its share or correlation says nothing.
_NOTHING = 1.0
# Largest exponent a of a rate that grows as the number of filters to the a: 0 is flat, 1 in proportion.
FLATNESS = 0.25
# Largest distance of two bounds that are about the same, in nats per image.
_CLOSE = 2.0


@dataclass(frozen=True)
class Finding:
    """What our numbers say of a claim.

    Args:
        ours: Our numbers, in words.
        interval: What their intervals are.
        verdict: Reproduced, not reproduced, or not decided at this size.
    """

    ours: str
    interval: str
    verdict: str


def follows_the_prior(rows: Sequence[Row]) -> Finding:
    """How far the activations are from the priors."""
    distances = {name: select(rows, activation=name)[0]["distance"] for name in ("relu", "softplus")}
    words = ", ".join(f"{name} {value:.2f}" for name, value in distances.items())
    word = REPRODUCED if max(distances.values()) < _DISTANCE else NOT
    return Finding(f"distance from the prior in standard deviations of log z: {words}", "one fit each", word)


def rate_outside_falls(rows: Sequence[Row]) -> Finding:
    """Whether the rate outside of the box falls from beta to beta, in every layer."""
    shares = select(rows, kind="share")
    betas, sites = values_of(shares, "setting"), values_of(shares, "site")
    falls: list[Estimate] = []
    parts = []
    for site in sites:
        series = [by_seed(select(shares, site=site, setting=beta), "rate_outside") for beta in betas]
        falls += steps(series, parts=len(sites) * (len(betas) - 1))
        parts.append(f"{site} {_mean(series[0]):,.0f} → {_mean(series[-1]):,.1f}")
    words = f"nats outside of the box, β × N {betas[0]:g} → {betas[-1]:g}: {', '.join(parts)}"
    return Finding(words, _basis(falls), all_of([verdict(fall) for fall in falls]))


def share_beyond_chance(rows: Sequence[Row]) -> Finding:
    """Whether at the largest beta more of the rate lies within the box than of the area, and than of the ink."""
    shares = select(rows, kind="share")
    betas = values_of(shares, "setting")
    sites = values_of(shares, "site")
    parts, gaps = [], []
    for site in sites:
        last = select(shares, setting=betas[-1], site=site)
        first = select(shares, setting=betas[0], site=site)[0]["share_in_box"]
        if _average(last, "rate_in_box") + _average(last, "rate_outside") < _NOTHING:
            continue
        chance = max(last[0]["chance"], last[0]["ink_in_box"])
        gap = mean_estimate([100 * (row["share_in_box"] - chance) for row in last], parts=len(sites))
        if len(last) == 1:
            half = 100 * last[0]["share_in_box_se"] * float(norm.ppf(1 - 0.025 / len(sites)))
            gap = Estimate(gap.value, half, "test images, one fit each")
        gaps.append(gap)
        share = 100 * _average(last, "share_in_box")
        parts.append(
            f"{site} {100 * first:.1f} → {share:.1f} ± {gap.half:.1f} % (ink {100 * last[0]['ink_in_box']:.1f} %)"
        )
    words = (
        f"share of the rate within the box, β × N {betas[0]:g} → {betas[-1]:g}: {', '.join(parts)}; "
        f"of the area the box has {100 * shares[0]['chance']:.1f} %"
    )
    return Finding(words, _basis(gaps), all_of([verdict(gap) for gap in gaps]))


def errs_less(other: str, rows: Sequence[Row]) -> Finding:
    """Whether another kind of noise errs more than information dropout at every size, with the noise off."""
    information, rival = _methods(rows, "information"), _methods(rows, other)
    sizes = values_of(information, "size")
    gaps = {column: _gaps(rival, information, sizes, column) for column in (D, N)}
    parts = [
        f"{size_name(size)}: {_percent(select(information, size=size), D)} vs "
        f"{_percent(select(rival, size=size), D)}, {other} errs {gaps[D][size]} points more "
        f"(N: {gaps[N][size]})"
        for size in sizes
    ]
    words = f"D [%], information vs {other}, by size {'; '.join(parts)}"
    quiet = list(gaps[D].values())
    return Finding(words, _basis(quiet), all_of([verdict(gap) for gap in quiet]))


def gap_closes(rows: Sequence[Row]) -> Finding:
    """Whether binary dropout errs more at the smallest width, by more than at the largest."""
    binary, information = _methods(rows, "binary"), _methods(rows, "information")
    widths = values_of(information, "size")
    ends = (widths[0], widths[-1])
    small, large = (error_gap(select(binary, size=w), select(information, size=w), D, parts=2) for w in ends)
    if len(values_of(information, "seed")) > 1:
        excess = [
            {seed: 100 * (more[seed] - less[seed]) for seed in more}
            for more, less in (
                (by_seed(select(binary, size=w), D), by_seed(select(information, size=w), D)) for w in ends
            )
        ]
        (change,) = steps(excess, parts=2)
    else:
        change = Estimate(small.value - large.value, math.hypot(small.half, large.half), small.basis)
    words = (
        f"binary's excess error: {small} points at width {widths[0]:g}, {large} at {widths[-1]:g}; it shrinks by "
        f"{change}"
    )
    return Finding(words, _basis([small, change]), all_of([verdict(small), verdict(change)]))


def without_batch_norm(rows: Sequence[Row]) -> Finding:
    """What the methods do without batch norm; no verdict."""
    bare = select(rows, stage="without batch norm")
    parts = [f"{row['dropout']} {row['setting']:g}: {100 * row[D]:.1f} %" for row in bare]
    width = bare[0]["size"]
    kept = [row for row in select(rows, stage="full", size=width, seed=0) if row["dropout"] != "none"]
    others = [f"{row['dropout']} {row['setting']:g}: {100 * row[D]:.1f} %" for row in kept]
    words = f"width {width:g}, noise off, without: {', '.join(parts)}; with: {', '.join(others)}"
    return Finding(words, "one fit each", "ours, no claim of the paper")


def nuisance_error_rises(rows: Sequence[Row]) -> Finding:
    """Whether the probe errs more at the largest beta than at the smallest, and nowhere less than just before."""
    column = "nuisance_error_noisy"
    betas, groups = _by_beta(rows)
    gaps = all_gaps(groups, column)
    ends = gaps[len(betas) - 1, 0]
    falls = [verdict(gaps[i, i + 1]) == REPRODUCED for i in range(len(betas) - 1)]
    words = f"{_series(rows, column)}; largest minus smallest beta {ends} points"
    return Finding(words, _basis([ends]), NOT if any(falls) else verdict(ends))


def main_error_falls_first(rows: Sequence[Row]) -> Finding:
    """Whether some larger beta errs less than the smallest, and a still larger one more than that, noise off."""
    betas, groups = _by_beta(rows)
    gaps = all_gaps(groups, D)
    later = range(1, len(betas))
    falls = {b: verdict(gaps[0, b]) for b in later}
    rises = {b: [verdict(gaps[c, b]) for c in later if c > b] for b in later}
    if any(falls[b] == REPRODUCED and REPRODUCED in rises[b] for b in later):
        word = REPRODUCED
    elif all(fall == NOT for fall in falls.values()):
        word = NOT
    else:
        word = UNDECIDED
    best = max(later, key=lambda b: gaps[0, b].value)
    words = (
        f"D: {_series(rows, D)}; N: {_series(rows, N)}; smallest beta errs {gaps[0, best]} points more than "
    )
    words += f"β × N = {betas[best]:g}"
    if best < len(betas) - 1:
        words += f", the largest {gaps[len(betas) - 1, best]}"
    return Finding(words, f"{_basis([gaps[0, best]])}, all pairs of betas at once", word)


def total_correlation_falls(rows: Sequence[Row]) -> Finding:
    """Whether the total correlation beyond its null falls from beta to beta, where the layer lets a nat through."""
    betas = [b for b in values_of(rows, "setting") if _mean(_rates(select(rows, setting=b))) >= _NOTHING]
    series = [by_seed(select(rows, setting=beta), "tc_corrected") for beta in betas]
    falls = steps(series, parts=max(1, len(betas) - 1))
    parts = [f"{beta:g}: {_mean(values):,.0f}" for beta, values in zip(betas, series, strict=True)]
    shares = [
        f"{100 * _mean(values) / _mean(_rates(select(rows, setting=beta))):.0f}"
        for beta, values in zip(betas, series, strict=True)
    ]
    words = (
        f"estimate minus null [nats] by β × N: {', '.join(parts)}; null {rows[0]['tc_null']:.1f}. The layer's rate "
        f"falls as well: the difference is {', '.join(shares)} % of it"
    )
    return Finding(words, _basis(falls), all_of([verdict(fall) for fall in falls]))


def total_rate_is_flat(rows: Sequence[Row]) -> Finding:
    """Whether each layer's total rate grows as a small power of the number of filters."""
    shares, sites = values_of(rows, "size"), values_of(rows, "site")
    parts, exponents = [], []
    for site in sites:
        series = [by_seed(select(rows, site=site, size=share), "site_rate") for share in shares]
        filters = math.log(shares[-1] / shares[0])
        growth = [math.log(series[-1][seed] / rate) / filters for seed, rate in series[0].items()]
        exponents.append(mean_estimate(growth, parts=len(sites)))
        rates = ", ".join(f"{_mean(values):,.0f}" for values in series)
        parts.append(f"{site} {rates} (exponent {exponents[-1]})")
    words = f"nats at {', '.join(size_name(share) for share in shares)}: {'; '.join(parts)}"
    return Finding(words, _basis(exponents), all_of([within(exponent, FLATNESS) for exponent in exponents]))


def unit_rate_falls(rows: Sequence[Row]) -> Finding:
    """Whether the rate per unit falls as filters are added, in each layer."""
    shares, sites = values_of(rows, "size"), values_of(rows, "site")
    parts = []
    falls: list[Estimate] = []
    for site in sites:
        series = [by_seed(select(rows, site=site, size=share), "rate_per_unit") for share in shares]
        falls += steps(series, parts=len(sites) * (len(shares) - 1))
        parts.append(f"{site} {', '.join(f'{_mean(values):.3f}' for values in series)}")
    words = f"nats per unit, filters ascending: {'; '.join(parts)}"
    return Finding(words, _basis(falls), all_of([verdict(fall) for fall in falls]))


def second_layer_lets_less_through(rows: Sequence[Row]) -> Finding:
    """Whether the second layer lets less through in total, and more per unit, at every share of the filters."""
    shares = values_of(rows, "size")
    first, second = ([select(rows, site=site, size=share) for share in shares] for site in ("z1", "z2"))
    parts = 2 * len(shares)
    less = [_paired(a, b, "site_rate", parts) for a, b in zip(first, second, strict=True)]
    more = [_paired(b, a, "rate_per_unit", parts) for a, b in zip(first, second, strict=True)]
    words = (
        f"by share of the filters {', '.join(size_name(share) for share in shares)}: second layer less in total by "
        f"{', '.join(gap.text(0) for gap in less)} nats; more per unit by {', '.join(gap.text(3) for gap in more)}"
    )
    return Finding(words, _basis(less), all_of([verdict(gap) for gap in [*less, *more]]))


def bounds_are_close(rows: Sequence[Row]) -> Finding:
    """Whether the two bounds are close at every size."""
    sizes = values_of(rows, "size")
    parts, gaps = [], []
    for k in sizes:
        gaussian, information = (select(rows, size=k, latent=name) for name in ("gaussian", "information"))
        gap = _paired(gaussian, information, "bound", len(sizes))
        gaps.append(gap)
        parts.append(
            f"k = {k:g}: {_average(gaussian, 'bound'):.2f} and {_average(information, 'bound'):.2f}, Gaussian higher "
            f"by {gap}"
        )
    words = f"Gaussian and information [nats per image]: {'; '.join(parts)}"
    return Finding(words, _basis(gaps), all_of([within(gap, _CLOSE) for gap in gaps]))


def _methods(rows: Sequence[Row], dropout: str) -> list[Row]:
    """A method's rows but for its trials."""
    return [row for row in select(rows, dropout=dropout) if row.get("stage", "full") == "full"]


def _gaps(
    more: Sequence[Row], less: Sequence[Row], sizes: Sequence[float], column: str
) -> dict[float, Estimate]:
    pairs = {size: (select(more, size=size), select(less, size=size)) for size in sizes}
    return {size: error_gap(*pair, column, parts=len(sizes)) for size, pair in pairs.items()}


def _paired(more: Sequence[Row], less: Sequence[Row], column: str, parts: int) -> Estimate:
    (gap,) = steps([by_seed(more, column), by_seed(less, column)], parts=parts)
    return gap


def _by_beta(rows: Sequence[Row]) -> tuple[list[float], list[list[Row]]]:
    betas = values_of(rows, "setting")
    return betas, [select(rows, setting=beta) for beta in betas]


def _basis(estimates: Sequence[Estimate]) -> str:
    """What the intervals of estimates are over."""
    if not estimates:
        return "nothing to judge"
    basis = estimates[0].basis
    return basis if math.isnan(estimates[0].half) else f"95 %, {basis}"


def _mean(values: Mapping[Any, float]) -> float:
    return math.fsum(values.values()) / len(values)


def _average(rows: Sequence[Row], column: str) -> float:
    return math.fsum(row[column] for row in rows) / len(rows)


def _rates(rows: Sequence[Row]) -> dict[Any, float]:
    """Rate of the last noisy layer, of each seed."""
    last = max(name for name in rows[0] if name.startswith("rate/"))
    return by_seed(rows, last)


def _percent(rows: Sequence[Row], column: str) -> str:
    return f"{100 * _average(rows, column):.2f}"


def _series(rows: Sequence[Row], column: str) -> str:
    betas, groups = _by_beta(rows)
    return ", ".join(f"{b:g}: {100 * _average(g, column):.1f} %" for b, g in zip(betas, groups, strict=True))
