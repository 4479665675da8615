"""The paper's experimental claims, and what our numbers say of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from inference.paper.estimates import NOT, REPRODUCED, UNDECIDED, Estimate, all_of, error_gap, verdict
from inference.paper.numbers import select, values_of

__all__ = ["CLAIMS", "Claim", "Finding"]

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


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Args:
        figure: Where it stands.
        words: The claim.
        paper: The paper's number or trend.
        judge: Takes the figure's rows.
        rule: When it counts as reproduced.
    """

    figure: str
    words: str
    paper: str
    judge: Callable[[Sequence[Row]], Finding]
    rule: str


def _fig1(rows: Sequence[Row]) -> Finding:
    distances = {name: select(rows, activation=name)[0]["distance"] for name in ("relu", "softplus")}
    words = ", ".join(f"{name} {value:.2f}" for name, value in distances.items())
    word = REPRODUCED if max(distances.values()) < 0.25 else NOT
    return Finding(f"distance from the prior in standard deviations of log z: {words}", "one fit each", word)


def _fig2_outside(rows: Sequence[Row]) -> Finding:
    shares = select(rows, kind="share")
    betas = values_of(shares, "setting")
    falls, parts = [], []
    for site in values_of(shares, "site"):
        outside = [select(shares, site=site, setting=beta)[0]["rate_outside"] for beta in betas]
        falls.append(all(first > second for first, second in zip(outside, outside[1:], strict=False)))
        parts.append(f"{site} {outside[0]:,.0f} → {outside[-1]:,.1f}")
    words = f"nats outside of the box, β × N {betas[0]:g} → {betas[-1]:g}: {', '.join(parts)}"
    return Finding(words, "one fit a beta", REPRODUCED if all(falls) else NOT)


def _fig2_share(rows: Sequence[Row]) -> Finding:
    shares = select(rows, kind="share")
    beta = values_of(shares, "setting")[-1]
    # Shares of what no longer lets a nat through say nothing.
    last = [row for row in select(shares, setting=beta) if row["rate_in_box"] + row["rate_outside"] >= 1]
    gaps = [
        Estimate(100 * (row["share_in_box"] - row["chance"]), 196 * row["share_in_box_se"], "")
        for row in last
    ]
    parts = [
        f"{row['site']} {100 * row['share_in_box']:.1f} ± {gap.half:.1f} %"
        for row, gap in zip(last, gaps, strict=True)
    ]
    words = f"at β × N = {beta:g}: {', '.join(parts)}; chance {100 * shares[0]['chance']:.1f} %"
    return Finding(
        words, "95 %, test images, one fit", all_of([verdict(gap) for gap in gaps]) if gaps else UNDECIDED
    )


def _better(other: str, rows: Sequence[Row]) -> Finding:
    full = [row for row in rows if row.get("stage", "full") == "full"]
    information, rival = select(full, dropout="information"), select(full, dropout=other)
    gap = error_gap(rival, information, D)
    parts = []
    for size in values_of(full, "size"):
        ours, theirs = ([row[D] for row in select(group, size=size)] for group in (information, rival))
        parts.append(f"{size:g}: {100 * sum(ours) / len(ours):.2f} vs {100 * sum(theirs) / len(theirs):.2f}")
    words = f"D [%], information vs {other}, by size {'; '.join(parts)}; {other} errs {gap} points more"
    return Finding(words, f"95 %, {gap.basis}", verdict(gap))


def _smaller_networks(rows: Sequence[Row]) -> Finding:
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


def _without_batch_norm(rows: Sequence[Row]) -> Finding:
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


def _fig4_nuisance(rows: Sequence[Row]) -> Finding:
    low, high = _ends(rows, N)
    gap = error_gap(high, low, "nuisance_error_noisy")
    words = f"{_series(rows, 'nuisance_error_noisy')}; largest minus smallest beta {gap} points"
    return Finding(words, f"95 %, {gap.basis}", verdict(gap))


def _improves(rows: Sequence[Row]) -> Finding:
    betas = values_of(rows, "setting")
    means = {b: sum(row[D] for row in select(rows, setting=b)) / len(select(rows, setting=b)) for b in betas}
    best = min(means, key=lambda beta: means[beta])
    if best == betas[0]:
        best = betas[1]
    gap = error_gap(select(rows, setting=betas[0]), select(rows, setting=best), D)
    words = f"D: {_series(rows, D)}; N: {_series(rows, N)}; smallest beta errs {gap} points more than β × N = {best:g}"
    return Finding(words, f"95 %, {gap.basis}", verdict(gap))


def _fig5_correlation(rows: Sequence[Row]) -> Finding:
    betas = values_of(rows, "setting")
    by_beta = [select(rows, setting=beta) for beta in betas]
    values = [sum(row["tc_corrected"] for row in group) / len(group) for group in by_beta]
    falls = all(first > second for first, second in zip(values, values[1:], strict=False))
    parts = [f"{beta:g}: {value:,.0f}" for beta, value in zip(betas, values, strict=True)]
    words = f"estimate minus null [nats] by β × N: {', '.join(parts)}; null {rows[0]['tc_null']:.1f}"
    return Finding(words, "one fit a beta" if len(by_beta[0]) == 1 else "means", REPRODUCED if falls else NOT)


def _fig6_total(rows: Sequence[Row]) -> Finding:
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


def _fig6_units(rows: Sequence[Row]) -> Finding:
    parts, falls = [], []
    shares = values_of(rows, "size")
    for site in values_of(rows, "site"):
        rates = [select(rows, site=site, size=share)[0]["rate_per_unit"] for share in shares]
        falls.append(all(first > second for first, second in zip(rates, rates[1:], strict=False)))
        parts.append(f"{site} {', '.join(f'{rate:.3f}' for rate in rates)}")
    words = f"nats per unit, filters ascending: {'; '.join(parts)}"
    return Finding(words, "one fit each", REPRODUCED if all(falls) else NOT)


def _fig6_layers(rows: Sequence[Row]) -> Finding:
    shares = values_of(rows, "size")
    pairs = [[select(rows, site=site, size=share)[0] for site in ("z1", "z2")] for share in shares]
    total = all(first["site_rate"] > second["site_rate"] for first, second in pairs)
    unit = all(first["rate_per_unit"] < second["rate_per_unit"] for first, second in pairs)
    words = f"second layer less in total: {_yes(total)}; more per unit: {_yes(unit)} (at every share of the filters)"
    return Finding(words, "one fit each", REPRODUCED if total and unit else NOT)


def _table1(rows: Sequence[Row]) -> Finding:
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


_SEED_RULE = "the 95 % interval of the difference excludes zero"
CLAIMS = (
    Claim(
        "fig1",
        "The activations after the noise follow the proposed priors: log-uniform for ReLU, log-normal for softplus.",
        "both histograms approximately follow the prior",
        _fig1,
        "Wasserstein distance below a quarter of the standard deviation of log z, over the range shown",
    ),
    Claim(
        "fig2",
        "A larger beta lets less information through about the clutter.",
        "maps darken outside of the digit as beta grows",
        _fig2_outside,
        "the rate outside of the digit's box falls from beta to beta, in every layer",
    ),
    Claim(
        "fig2",
        "The digit can be found in the noise: what is let through is where the digit is.",
        "visible in the maps",
        _fig2_share,
        "at the largest beta, every layer that lets a nat through has a larger share in the box than chance",
    ),
    Claim(
        "fig3a",
        "Information dropout errs less than binary dropout on MNIST.",
        "lower error at every width, 3 runs",
        lambda rows: _better("binary", rows),
        _SEED_RULE,
    ),
    Claim(
        "fig3a",
        "It does so most on small networks.",
        "the gap closes with the width",
        _smaller_networks,
        _SEED_RULE,
    ),
    Claim(
        "fig3a",
        "It errs less than constant log-normal noise: what helps is that the noise adapts.",
        "lower error at every width",
        lambda rows: _better("constant", rows),
        _SEED_RULE,
    ),
    Claim(
        "fig3a",
        "What batch norm does for the baselines.",
        "not shown",
        _without_batch_norm,
        "a collapsed baseline would be no comparison",
    ),
    Claim(
        "fig3b",
        "Information dropout errs less than binary dropout on CIFAR-10 (All-CNN-32, softplus).",
        "lower error, most with few filters",
        lambda rows: _better("binary", rows),
        _SEED_RULE,
    ),
    Claim(
        "fig4",
        "A larger beta makes the representation more invariant to the nuisance.",
        "the nuisance error rises with beta",
        _fig4_nuisance,
        _SEED_RULE,
    ),
    Claim(
        "fig4",
        "Up to a point it also improves the main task.",
        "the main error falls with beta before it rises",
        _improves,
        _SEED_RULE,
    ),
    Claim(
        "fig5",
        "Beta has an optimum on CIFAR-10: the test error falls at first.",
        "falls, then rises steeply",
        _improves,
        _SEED_RULE,
    ),
    Claim(
        "fig5",
        "The representation becomes more disentangled with beta.",
        "the total correlation falls with beta",
        _fig5_correlation,
        "the estimate minus its null falls from beta to beta",
    ),
    Claim(
        "fig6",
        "The information that a layer lets through hardly depends on the number of filters.",
        "nearly flat",
        _fig6_total,
        "largest / smallest total rate below the root of largest / smallest number of filters",
    ),
    Claim(
        "fig6",
        "With fewer filters each unit lets more through.",
        "falls with the filters",
        _fig6_units,
        "the rate per unit falls from share to share, in both layers",
    ),
    Claim(
        "fig6",
        "The second layer lets less through in total, and more per unit.",
        "so in the figure",
        _fig6_layers,
        "both, at every share of the filters",
    ),
    Claim(
        "table1",
        "A VAE with information dropout has about the bound of one with Gaussian latents, at every size.",
        "comparable bounds, k = 1, 2, 3",
        _table1,
        "bounds within 2 nats of each other at every k",
    ),
)
