"""Verdicts on made-up numbers whose answer is known."""

import pandas as pd
import pytest

from inference.studies.paper.figures import FIGURES, figure
from inference.studies.paper.methods import chosen_settings
from inference.studies.paper.verdicts import NOT, REPRODUCED, UNDECIDED

D = "test_error_deterministic"
SEEDS = range(3)
LESS = "Information dropout errs less than binary dropout on MNIST"
CLOSES = "It does so most on small networks"
INVARIANT = "A larger beta makes the representation more invariant"
IMPROVES = "Up to a point it also improves"
FLAT = "The information that a layer lets through hardly depends"
UNIT = "With fewer filters each unit"
SECOND = "The second layer lets less"
DISENTANGLED = "The representation becomes more disentangled"
FOLLOWS = "The activations after the noise follow"
CLUTTER = "A larger beta lets less information through about the clutter"
FOUND = "The digit can be found in the noise"
BOUNDS = "A VAE with information dropout"


def row(error, **columns):
    return {D: error, "test_error_noisy": error, "num_test": 10_000, "seed": 0, "size": 64, **columns}


def judged(words, rows):
    claims = [claim for name in FIGURES for claim in figure(name).claims]
    claim = next(claim for claim in claims if claim.words.startswith(words))
    return claim.judge(pd.DataFrame(rows))


def judge(words, rows):
    return judged(words, rows).verdict


def methods(binary, information, jitter=1e-4):
    return [
        row(error + jitter * seed, seed=seed, size=size, dropout=dropout, stage="full")
        for dropout, errors in (("binary", binary), ("information", information), ("constant", information))
        for size, error in errors.items()
        for seed in SEEDS
    ]


def test_a_method_that_errs_less_at_every_size_is_found():
    rows = methods({32: 0.08, 128: 0.03}, {32: 0.03, 128: 0.02})
    assert judge(LESS, rows) == REPRODUCED
    assert judge("It errs less than constant", rows) == UNDECIDED


def test_one_size_at_which_it_errs_more_refutes_every_size():
    # On average over the sizes it errs less by far.
    assert judge(LESS, methods({32: 0.20, 128: 0.02}, {32: 0.03, 128: 0.03})) == NOT
    assert judge(LESS, methods({32: 0.20, 128: 0.03}, {32: 0.03, 128: 0.03})) == UNDECIDED


def test_a_method_that_errs_more_is_a_negative_that_stays():
    assert judge(LESS, methods({32: 0.02, 128: 0.02}, {32: 0.03, 128: 0.04})) == NOT


def test_a_trial_is_no_result():
    rows = methods({32: 0.08, 128: 0.03}, {32: 0.03, 128: 0.02})
    trials = [row(0.9, size=32, dropout="information", stage="choice", seed=0) for _ in range(3)]
    assert judge(LESS, [*trials, *rows]) == REPRODUCED


@pytest.mark.parametrize(
    ("binary", "information", "expected"),
    [
        ({32: 0.08, 128: 0.03}, {32: 0.03, 128: 0.02}, REPRODUCED),
        # It loses everywhere, less so where it is small: nothing closes.
        ({32: 0.03, 128: 0.01}, {32: 0.04, 128: 0.05}, NOT),
        # It is ahead by as much everywhere.
        ({32: 0.08, 128: 0.07}, {32: 0.03, 128: 0.02}, UNDECIDED),
        # It gets farther ahead.
        ({32: 0.08, 128: 0.17}, {32: 0.03, 128: 0.02}, NOT),
        ({32: 0.03, 128: 0.01}, {32: 0.03, 128: 0.02}, UNDECIDED),
    ],
)
def test_a_gap_can_only_close_where_there_is_one(binary, information, expected):
    assert judge(CLOSES, methods(binary, information)) == expected


def test_a_gap_that_varies_from_seed_to_seed_is_open():
    rows = methods({32: 0.08, 128: 0.03}, {32: 0.03, 128: 0.02})
    for each in rows:
        if each["dropout"] == "binary" and each["size"] == 32:
            each[D] += 0.04 * (each["seed"] - 1)
    assert judge(CLOSES, rows) == UNDECIDED


def by_beta(column, *values, seeds=SEEDS, jitter=0.002):
    betas = (0.1, 1.0, 8.0, 64.0)
    return [
        row(0.5, setting=beta, seed=seed) | {column: value + jitter * seed}
        for beta, value in zip(betas, values, strict=False)
        for seed in seeds
    ]


@pytest.mark.parametrize("seeds", [SEEDS, [0]])
@pytest.mark.parametrize(
    ("nuisance", "expected"),
    [
        ((0.3, 0.5, 0.8), REPRODUCED),
        ((0.8, 0.5, 0.3), NOT),
        ((0.3, 0.8, 0.5), NOT),
        ((0.3, 0.8, 0.799), REPRODUCED),
        ((0.5, 0.5, 0.501), UNDECIDED),
    ],
)
def test_the_nuisance_error_must_rise(nuisance, expected, seeds):
    assert judge(INVARIANT, by_beta("nuisance_error_noisy", *nuisance, seeds=seeds)) == expected


@pytest.mark.parametrize("seeds", [SEEDS, [0]])
@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ((0.5, 0.4, 0.8), REPRODUCED),
        ((0.5, 0.4, 0.3), UNDECIDED),
        ((0.4, 0.5, 0.8), NOT),
        ((0.4, 0.399, 0.8), UNDECIDED),
        # The least error is not the first that is smaller: it falls twice, then rises.
        ((0.5, 0.45, 0.4, 0.8), REPRODUCED),
    ],
)
def test_the_main_error_must_fall_before_it_rises(errors, expected, seeds):
    assert judge(IMPROVES, by_beta(D, *errors, seeds=seeds)) == expected


def test_the_best_of_many_betas_is_not_taken_at_its_word():
    # The best of five betas is 2.1 standard errors below the first: enough for one beta, not for the best of five.
    rows = [
        row(error, setting=beta)
        for beta, error in ((0.1, 0.5), (1.0, 0.502), (2.0, 0.4852), (4.0, 0.5), (8.0, 0.9))
    ]
    assert judge(IMPROVES, rows) == UNDECIDED


def fig6(rates, seeds=(0,), jitter=0.0):
    units = {"z1": 6144, "z2": 3072}
    return [
        row(
            0.3,
            seed=seed,
            site=site,
            size=share,
            site_rate=found,
            rate_per_unit=found / (units[site] * share),
        )
        for site, by_share in rates.items()
        for share, rate in by_share.items()
        for seed in seeds
        for found in [rate * (1 + jitter * seed)]
    ]


def test_flat_totals_and_the_order_of_the_layers():
    rows = fig6({"z1": {0.25: 100.0, 1.0: 110.0}, "z2": {0.25: 60.0, 1.0: 70.0}})
    assert judge(FLAT, rows) == REPRODUCED
    assert judge(UNIT, rows) == REPRODUCED
    assert judge(SECOND, rows) == REPRODUCED
    steep = fig6({"z1": {0.25: 25.0, 1.0: 100.0}, "z2": {0.25: 60.0, 1.0: 70.0}})
    assert judge(FLAT, steep) == NOT
    assert judge(UNIT, steep) == NOT
    assert judge(SECOND, steep) == NOT


def test_half_as_much_again_over_four_times_the_filters_is_not_flat():
    assert judge(FLAT, fig6({"z1": {0.25: 100.0, 1.0: 100.0}, "z2": {0.25: 100.0, 1.0: 152.0}})) == NOT
    assert judge(FLAT, fig6({"z1": {0.25: 100.0, 1.0: 100.0}, "z2": {0.25: 152.0, 1.0: 100.0}})) == NOT
    assert judge(FLAT, fig6({"z1": {0.25: 100.0, 1.0: 100.0}, "z2": {0.25: 100.0, 1.0: 138.0}})) == REPRODUCED


def test_a_second_layer_must_let_less_through_at_every_share():
    assert judge(SECOND, fig6({"z1": {0.25: 59.0, 1.0: 110.0}, "z2": {0.25: 60.0, 1.0: 70.0}})) == NOT
    # Less in total, but half as many units let half as much through: as much per unit.
    assert judge(SECOND, fig6({"z1": {0.25: 100.0, 1.0: 100.0}, "z2": {0.25: 49.0, 1.0: 70.0}})) == NOT


def test_every_seed_has_a_say():
    rows = fig6({"z1": {0.25: 100.0, 1.0: 110.0}, "z2": {0.25: 60.0, 1.0: 70.0}}, SEEDS, 0.01)
    assert judge(FLAT, rows) == REPRODUCED
    assert judged(FLAT, rows).interval == "95 %, 3 seeds"
    for each in rows:
        if each["seed"] == 2 and each["size"] == 1.0:
            each["site_rate"] *= 3
            each["rate_per_unit"] *= 3
    assert judge(FLAT, rows) == UNDECIDED
    assert judge(UNIT, rows) == UNDECIDED


def fig5(corrected, rates, seeds=(0,)):
    return [
        row(0.5, setting=10.0**power, seed=seed, tc_corrected=tc * (1 + 0.01 * seed), tc_null=264.6)
        | {"rate/z1": 1e4, "rate/z2": rate}
        for power, (tc, rate) in enumerate(zip(corrected, rates, strict=True))
        for seed in seeds
    ]


@pytest.mark.parametrize("seeds", [SEEDS, (0,)])
@pytest.mark.parametrize(
    ("corrected", "rates", "expected"),
    [
        ((2500.0, 600.0, 30.0), (4000.0, 1000.0, 50.0), REPRODUCED),
        ((30.0, 600.0, 2500.0), (4000.0, 1000.0, 50.0), NOT),
        ((2500.0, 600.0, 700.0), (4000.0, 1000.0, 50.0), NOT),
        # What lets no nat through is left out.
        ((2500.0, 600.0, 700.0), (4000.0, 1000.0, 0.5), REPRODUCED),
        ((2500.0, 600.0, 700.0), (4000.0, 0.5, 0.5), UNDECIDED),
    ],
)
def test_the_total_correlation_must_fall_while_something_gets_through(corrected, rates, expected, seeds):
    assert judge(DISENTANGLED, fig5(corrected, rates, seeds)) == expected


def test_the_total_correlation_is_shown_beside_the_rate():
    assert "62, 60 % of it" in judged(DISENTANGLED, fig5((2480.0, 600.0), (4000.0, 1000.0))).ours


@pytest.mark.parametrize(
    ("relu", "softplus", "expected"), [(0.2, 0.24, REPRODUCED), (0.26, 0.1, NOT), (0.1, 0.26, NOT)]
)
def test_both_activations_must_be_near_their_prior(relu, softplus, expected):
    rows = [row(0.5, activation="relu", distance=relu), row(0.5, activation="softplus", distance=softplus)]
    assert judge(FOLLOWS, rows) == expected


def fig2(outside, share, ink=0.28, se=0.002, inside=100.0):
    return [
        row(
            0.1,
            kind="share",
            setting=beta,
            site=site,
            rate_outside=rate,
            rate_in_box=inside,
            share_in_box=found,
            share_in_box_se=se,
            chance=0.033,
            ink_in_box=ink,
        )
        for site in ("z1", "z2")
        for beta, rate, found in zip((0.1, 1.0, 8.0), outside, share, strict=True)
    ]


def test_the_rate_outside_must_fall_from_beta_to_beta():
    share = (0.3, 0.4, 0.5)
    assert judge(CLUTTER, fig2((1000.0, 500.0, 100.0), share)) == REPRODUCED
    assert judge(CLUTTER, fig2((100.0, 500.0, 1000.0), share)) == NOT
    assert judge(CLUTTER, fig2((1000.0, 100.0, 500.0), share)) == NOT
    mixed = fig2((1000.0, 500.0, 100.0), share)
    next(each for each in mixed if each["site"] == "z2" and each["setting"] == 8.0)["rate_outside"] = 600.0
    assert judge(CLUTTER, mixed) == NOT


def test_the_share_must_exceed_that_of_the_ink_at_the_largest_beta():
    outside = (1000.0, 500.0, 100.0)
    assert judge(FOUND, fig2(outside, (0.2, 0.3, 0.35))) == REPRODUCED
    # Above that of the area by far, but where the ink is the rate is.
    assert judge(FOUND, fig2(outside, (0.5, 0.5, 0.25))) == NOT
    assert judge(FOUND, fig2(outside, (0.5, 0.5, 0.281))) == UNDECIDED
    assert judge(FOUND, fig2(outside, (0.2, 0.3, 0.35), se=0.1)) == UNDECIDED
    # No ink: still above that of the area.
    assert judge(FOUND, fig2(outside, (0.2, 0.3, 0.02), ink=0.0)) == NOT


def test_a_layer_that_lets_nothing_through_has_no_share():
    silent = fig2((1000.0, 500.0, 0.1), (0.2, 0.3, 0.01), inside=0.2)
    assert judge(FOUND, silent) == UNDECIDED
    rows = [*fig2((1000.0, 500.0, 100.0), (0.2, 0.3, 0.35))[:3], *silent[3:]]
    assert judge(FOUND, rows) == REPRODUCED


def table1(gaussian, information, spread=0.0):
    return [
        {"latent": latent, "size": k, "seed": seed, "bound": bound + spread * sign * seed}
        for latent, bounds, sign in (("gaussian", gaussian, 1), ("information", information, -1))
        for k, bound in bounds.items()
        for seed in SEEDS
    ]


def test_bounds_are_close_within_two_nats_at_every_size():
    assert judge(BOUNDS, table1({1: -98.8, 2: -99.0}, {1: -100.0, 2: -99.1})) == REPRODUCED
    assert judge(BOUNDS, table1({1: -98.8, 2: -99.0}, {1: -100.0, 2: -101.1})) == NOT
    # The better of the two may be either.
    assert judge(BOUNDS, table1({1: -98.8, 2: -99.0}, {1: -96.0, 2: -99.1})) == NOT
    assert judge(BOUNDS, table1({1: -98.8, 2: -99.0}, {1: -100.0, 2: -99.1}, spread=2.0)) == UNDECIDED


def trial(dropout, setting, error):
    return {
        "stage": "choice",
        "dropout": dropout,
        "setting": setting,
        "validation_error_deterministic": error,
    }


@pytest.mark.parametrize("name", ["fig3a", "fig3b"])
def test_every_method_chooses_among_as_many_candidates_and_the_full_runs_take_its_choice(name):
    plan = figure(name).plan
    trials = [planned.spec for planned in plan("paper")]
    kinds = [spec.program.dropout for spec in trials]
    assert len({kinds.count(name) for name in ("information", "binary", "constant")}) == 1
    assert all(spec.data.limits["validation"] is None for spec in trials)
    rows = [trial(spec.program.dropout, spec.strength, abs(spec.strength - 0.3)) for spec in trials]
    assert [planned.spec for planned in plan("paper", pd.DataFrame(rows[:-1]))] == trials
    chosen = chosen_settings(pd.DataFrame(rows))
    for name, value in chosen.items():
        tried = [spec.strength for spec in trials if spec.program.dropout == name]
        assert abs(value - 0.3) == min(abs(each - 0.3) for each in tried)
    full = [
        planned.spec for planned in plan("paper", pd.DataFrame(rows)) if planned.labels["stage"] == "full"
    ]
    for name, value in chosen.items():
        assert {spec.strength for spec in full if spec.program.dropout == name} == {value}
    sizes, seeds = {spec.program.size for spec in full}, {spec.training.seed for spec in full}
    assert len(full) == 4 * len(sizes) * len(seeds)
    # What was held out to choose is fitted too, once there is nothing to choose.
    assert {spec.data.holdout for spec in full} == {0}
    assert {spec.data.holdout for spec in trials} == {None}


def test_figure_3a_has_a_second_beta_and_runs_without_batch_norm():
    trials = [planned.spec for planned in figure("fig3a").plan("paper")]
    rows = [trial(spec.program.dropout, spec.strength, abs(spec.strength - 0.4)) for spec in trials]
    later = {stage: [] for stage in ("choice", "full", "second beta", "without batch norm")}
    for planned in figure("fig3a").plan("paper", pd.DataFrame(rows)):
        later[planned.labels["stage"]].append(planned.spec)
    assert {spec.objective.beta_paper for spec in later["second beta"]} == {3.0}
    bare = later["without batch norm"]
    assert {spec.program.dropout for spec in bare} == {"information", "binary", "constant"}
    assert {spec.program.batch_norm for spec in bare} == {False}
