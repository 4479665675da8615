"""The paper's experimental claims, each with the rule by which our numbers are judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from inference.studies.paper.judges import (
    FLATNESS,
    Finding,
    bounds_are_close,
    errs_less,
    follows_the_prior,
    gap_closes,
    main_error_falls_first,
    nuisance_error_rises,
    rate_outside_falls,
    second_layer_lets_less_through,
    share_beyond_chance,
    total_correlation_falls,
    total_rate_is_flat,
    unit_rate_falls,
    without_batch_norm,
)

__all__ = ["CLAIMS", "Claim"]

Row = dict[str, Any]


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


_EVERY_SIZE = "at every size the interval of the difference lies above zero"
_JOINTLY = "Games and Howell's intervals"
_FALL_AND_RISE = (
    f"a larger beta errs less than the smallest, and a still larger one more than that; {_JOINTLY}"
)
CLAIMS = (
    Claim(
        "fig1",
        "The activations after the noise follow the proposed priors: log-uniform for ReLU, log-normal for softplus.",
        "both histograms approximately follow the prior",
        follows_the_prior,
        "Wasserstein distance below a quarter of the standard deviation of log z, over the range shown",
    ),
    Claim(
        "fig2",
        "A larger beta lets less information through about the clutter.",
        "maps darken outside of the digit as beta grows",
        rate_outside_falls,
        "the rate outside of the digit's box falls from beta to beta, in every layer",
    ),
    Claim(
        "fig2",
        "The digit can be found in the noise: what is let through is where the digit is.",
        "visible in the maps",
        share_beyond_chance,
        "at the largest beta, in every layer that lets a nat through, the share exceeds the box's share of the "
        "area and of the ink (white pixels)",
    ),
    Claim(
        "fig3a",
        "Information dropout errs less than binary dropout on MNIST.",
        "lower error at every width, 3 runs",
        partial(errs_less, "binary"),
        _EVERY_SIZE,
    ),
    Claim(
        "fig3a",
        "It does so most on small networks.",
        "the gap closes with the width",
        gap_closes,
        "there is a gap at the smallest width, and it is larger than at the largest: both intervals lie above zero",
    ),
    Claim(
        "fig3a",
        "It errs less than constant log-normal noise: what helps is that the noise adapts.",
        "lower error at every width",
        partial(errs_less, "constant"),
        _EVERY_SIZE,
    ),
    Claim(
        "fig3a",
        "It errs less than the same network without noise.",
        "no claim",
        partial(errs_less, "none"),
        _EVERY_SIZE,
    ),
    Claim(
        "fig3a",
        "What batch norm does for the baselines.",
        "not shown",
        without_batch_norm,
        "a collapsed baseline would be no comparison",
    ),
    Claim(
        "fig3b",
        "Information dropout errs less than binary dropout on CIFAR-10 (All-CNN-32, softplus).",
        "lower error, most with few filters",
        partial(errs_less, "binary"),
        _EVERY_SIZE,
    ),
    Claim(
        "fig4",
        "A larger beta makes the representation more invariant to the nuisance.",
        "the nuisance error rises with beta",
        nuisance_error_rises,
        f"it is larger at the largest beta than at the smallest, and falls nowhere; {_JOINTLY}",
    ),
    Claim(
        "fig4",
        "Up to a point it also improves the main task.",
        "the main error falls with beta before it rises",
        main_error_falls_first,
        _FALL_AND_RISE,
    ),
    Claim(
        "fig5",
        "Beta has an optimum on CIFAR-10: the test error falls at first.",
        "falls, then rises steeply",
        main_error_falls_first,
        _FALL_AND_RISE,
    ),
    Claim(
        "fig5",
        "The representation becomes more disentangled with beta.",
        "the total correlation falls with beta",
        total_correlation_falls,
        "the estimate minus its null falls from beta to beta, where the layer lets a nat through",
    ),
    Claim(
        "fig6",
        "The information that a layer lets through hardly depends on the number of filters.",
        "nearly flat",
        total_rate_is_flat,
        f"rate ∝ filters to an exponent within ±{FLATNESS:g} in both layers (0: flat, 1: in proportion)",
    ),
    Claim(
        "fig6",
        "With fewer filters each unit lets more through.",
        "falls with the filters",
        unit_rate_falls,
        "the rate per unit falls from share to share, in both layers",
    ),
    Claim(
        "fig6",
        "The second layer lets less through in total, and more per unit.",
        "so in the figure",
        second_layer_lets_less_through,
        "both, at every share of the filters",
    ),
    Claim(
        "table1",
        "A VAE with information dropout has about the bound of one with Gaussian latents, at every size.",
        "comparable bounds, k = 1, 2, 3; at k = 1 -98.8 (Gaussian) and -100.0",
        bounds_are_close,
        "bounds within 2 nats of each other at every k, with their intervals",
    ),
)
