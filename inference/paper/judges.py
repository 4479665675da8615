"""What a figure's numbers say of a claim: functions from its rows to a finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inference.paper.estimates import NOT, REPRODUCED, UNDECIDED, Estimate, all_of, error_gap, verdict
from inference.paper.numbers import select, size_name, values_of

__all__ = [
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
    word = REPRODUCED if max(distances.values()) < 0.25 else NOT
    return Finding(f"distance from the prior in standard deviations of log z: {words}", "one fit each", word)


def rate_outside_falls(rows: Sequence[Row]) -> Finding:
    """Whether the rate outside of the box falls from beta to beta."""
    shares = select(rows, kind="share")
    betas = values_of(shares, "setting")
    falls, parts = [], []
    for site in values_of(shares, "site"):
        outside = [select(shares, site=site, setting=beta)[0]["rate_outside"] for beta in betas]
        falls.append(all(first > second for first, second in zip(outside, outside[1:], strict=False)))
        parts.append(f"{site} {outside[0]:,.0f} → {outside[-1]:,.1f}")
    words = f"nats outside of the box, β × N {betas[0]:g} → {betas[-1]:g}: {', '.join(parts)}"
    return Finding(words, "one fit a beta", REPRODUCED if all(falls) else NOT)


def share_beyond_chance(rows: Sequence[Row]) -> Finding:
    """Whether more of the rate than by chance is within the box, at the largest beta."""
    shares = select(rows, kind="share")
    betas = values_of(shares, "setting")
    beta = betas[-1]
    # Shares of what no longer lets a nat through say nothing.
    last = [row for row in select(shares, setting=beta) if row["rate_in_box"] + row["rate_outside"] >= 1]
    gaps = [
        Estimate(100 * (row["share_in_box"] - row["chance"]), 196 * row["share_in_box_se"], "")
        for row in last
    ]
    parts = []
    for row, gap in zip(last, gaps, strict=True):
        first = select(shares, setting=betas[0], site=row["site"])[0]["share_in_box"]
        parts.append(f"{row['site']} {100 * first:.1f} → {100 * row['share_in_box']:.1f} ± {gap.half:.1f} %")
    words = (
        f"share of the rate within the box, β × N {betas[0]:g} → {beta:g}: {', '.join(parts)}; "
        f"chance {100 * shares[0]['chance']:.1f} %"
    )
    return Finding(
        words, "95 %, test images, one fit", all_of([verdict(gap) for gap in gaps]) if gaps else UNDECIDED
    )


def errs_less(other: str, rows: Sequence[Row]) -> Finding:
    """Whether another kind of noise errs more than information dropout, with the noise off."""
    full = [row for row in rows if row.get("stage", "full") == "full"]
    information, rival = select(full, dropout="information"), select(full, dropout=other)
    gap = error_gap(rival, information, D)
    parts = []
    for size in values_of(full, "size"):
        ours, theirs = ([row[D] for row in select(group, size=size)] for group in (information, rival))
        parts.append(
            f"{size_name(size)}: {100 * sum(ours) / len(ours):.2f} vs {100 * sum(theirs) / len(theirs):.2f}"
        )
    noisy = error_gap(rival, information, N)
    words = f"D [%], information vs {other}, by size {'; '.join(parts)}; {other} errs {gap} points more (N: {noisy})"
    return Finding(words, f"95 %, {gap.basis}", verdict(gap))


def gap_closes(rows: Sequence[Row]) -> Finding:
    """Whether binary dropout's excess error is larger at the smallest width than at the largest."""
    full = select(rows, stage="full")
    widths = values_of(full, "size")
    gaps = {
        width: error_gap(*(select(full, dropout=name, size=width) for name in ("binary", "information")), D)
        for width in (widths[0], widths[-1])
    }
    small, large = gaps[widths[0]], gaps[widths[-1]]
    half = (small.half**2 + large.half**2) ** 0.5
    change = Estimate(small.value - large.value, half, small.basis)
    words = f"binary's excess error: {small} points at width {widths[0]}, {large} at {widths[-1]}"
    return Finding(words, f"95 %, {small.basis}", verdict(change))


def without_batch_norm(rows: Sequence[Row]) -> Finding:
    """What the methods do without batch norm; no verdict."""
    bare = select(rows, stage="without batch norm")
    parts = [f"{row['dropout']} {row['setting']:g}: {100 * row[D]:.1f} %" for row in bare]
    width = bare[0]["size"]
    kept = [row for row in select(rows, stage="full", size=width, seed=0) if row["dropout"] != "none"]
    others = [f"{row['dropout']} {row['setting']:g}: {100 * row[D]:.1f} %" for row in kept]
    words = f"width {width:g}, noise off, without: {', '.join(parts)}; with: {', '.join(others)}"
    return Finding(words, "one fit each", "ours, no claim of the paper")


def _ends(rows: Sequence[Row], column: str) -> tuple[list[Row], list[Row]]:
    betas = values_of(rows, "setting")
    return select(rows, setting=betas[0]), select(rows, setting=betas[-1])


def nuisance_error_rises(rows: Sequence[Row]) -> Finding:
    """Whether the probe errs more at the largest beta than at the smallest."""
    low, high = _ends(rows, N)
    gap = error_gap(high, low, "nuisance_error_noisy")
    words = f"{_series(rows, 'nuisance_error_noisy')}; largest minus smallest beta {gap} points"
    return Finding(words, f"95 %, {gap.basis}", verdict(gap))


def main_error_falls_first(rows: Sequence[Row]) -> Finding:
    """Whether some larger beta errs less than the smallest, with the noise off."""
    betas = values_of(rows, "setting")
    means = {b: sum(row[D] for row in select(rows, setting=b)) / len(select(rows, setting=b)) for b in betas}
    best = min(means, key=lambda beta: means[beta])
    if best == betas[0]:
        best = betas[1]
    gap = error_gap(select(rows, setting=betas[0]), select(rows, setting=best), D)
    words = f"D: {_series(rows, D)}; N: {_series(rows, N)}; smallest beta errs {gap} points more than β × N = {best:g}"
    return Finding(words, f"95 %, {gap.basis}", verdict(gap))


def total_correlation_falls(rows: Sequence[Row]) -> Finding:
    """Whether the total correlation beyond its null falls from beta to beta."""
    betas = values_of(rows, "setting")
    by_beta = [select(rows, setting=beta) for beta in betas]
    values = [sum(row["tc_corrected"] for row in group) / len(group) for group in by_beta]
    falls = all(first > second for first, second in zip(values, values[1:], strict=False))
    parts = [f"{beta:g}: {value:,.0f}" for beta, value in zip(betas, values, strict=True)]
    words = f"estimate minus null [nats] by β × N: {', '.join(parts)}; null {rows[0]['tc_null']:.1f}"
    return Finding(words, "one fit a beta" if len(by_beta[0]) == 1 else "means", REPRODUCED if falls else NOT)


def total_rate_is_flat(rows: Sequence[Row]) -> Finding:
    """Whether the total rate changes much less than the number of filters."""
    parts, ratios = [], []
    shares = values_of(rows, "size")
    for site in values_of(rows, "site"):
        rates = [select(rows, site=site, size=share)[0]["site_rate"] for share in shares]
        ratios.append(max(rates) / min(rates))
        parts.append(f"{site} {', '.join(f'{rate:,.0f}' for rate in rates)}")
    factor = shares[-1] / shares[0]
    words = f"nats at {', '.join(f'{100 * share:.3g} %' for share in shares)}: {'; '.join(parts)}"
    word = REPRODUCED if max(ratios) < factor**0.5 else NOT
    return Finding(
        f"{words}; largest / smallest {max(ratios):.1f} over {factor:g} times the filters",
        "one fit each",
        word,
    )


def unit_rate_falls(rows: Sequence[Row]) -> Finding:
    """Whether the rate per unit falls as filters are added."""
    parts, falls = [], []
    shares = values_of(rows, "size")
    for site in values_of(rows, "site"):
        rates = [select(rows, site=site, size=share)[0]["rate_per_unit"] for share in shares]
        falls.append(all(first > second for first, second in zip(rates, rates[1:], strict=False)))
        parts.append(f"{site} {', '.join(f'{rate:.3f}' for rate in rates)}")
    words = f"nats per unit, filters ascending: {'; '.join(parts)}"
    return Finding(words, "one fit each", REPRODUCED if all(falls) else NOT)


def second_layer_lets_less_through(rows: Sequence[Row]) -> Finding:
    """Whether the second layer lets less through in total, and more per unit."""
    shares = values_of(rows, "size")
    pairs = [[select(rows, site=site, size=share)[0] for site in ("z1", "z2")] for share in shares]
    total = all(first["site_rate"] > second["site_rate"] for first, second in pairs)
    unit = all(first["rate_per_unit"] < second["rate_per_unit"] for first, second in pairs)
    words = f"second layer less in total: {_yes(total)}; more per unit: {_yes(unit)} (at every share of the filters)"
    return Finding(words, "one fit each", REPRODUCED if total and unit else NOT)


def bounds_are_close(rows: Sequence[Row]) -> Finding:
    """Whether the two bounds are within 2 nats at every size."""
    parts, gaps = [], []
    for k in values_of(rows, "size"):
        means = {}
        for latent in ("gaussian", "information"):
            group = select(rows, size=k, latent=latent)
            means[latent] = sum(row["bound"] for row in group) / len(group)
        gaps.append(abs(means["information"] - means["gaussian"]))
        parts.append(f"k = {k:g}: {means['gaussian']:.2f} and {means['information']:.2f}")
    words = f"Gaussian and information [nats per image]: {'; '.join(parts)}"
    seeds = len(values_of(rows, "seed"))
    return Finding(words, f"{seeds} seed(s)", REPRODUCED if max(gaps) < 2 else NOT)


def _series(rows: Sequence[Row], column: str) -> str:
    betas = values_of(rows, "setting")
    groups = [[row[column] for row in select(rows, setting=beta)] for beta in betas]
    return ", ".join(
        f"{beta:g}: {100 * sum(g) / len(g):.1f} %" for beta, g in zip(betas, groups, strict=True)
    )


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
