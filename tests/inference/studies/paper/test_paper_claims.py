"""Verdicts on made-up numbers whose answer is known, in both directions."""

import numpy as np
import pandas as pd
import pytest

from inference.studies.paper.evidence import CANNOT, FEW, NOT, REPRODUCED, UNDECIDED
from inference.studies.paper.figures import FIGURES, figure
from inference.studies.paper.methods import chosen_settings
from inference.studies.paper.plan import FRESH

D, N = "test_error_deterministic", "test_error_noisy"
SEEDS = FRESH[:5]
# What the seeds of a group differ by, of mean zero: no two groups by the same.
NOISE = np.random.default_rng(0)
LESS = "Information dropout errs less than binary dropout on MNIST"
LESS_N = "With one noise sample in the test it errs less than binary"
PROTOCOL = "By the paper's protocol, strengths that nobody chose"
COMPARABLE = "It is comparable or better"
CLOSES = "It does so most on small networks"
INVARIANT = "A larger beta makes the representation more invariant"
IMPROVES = "Up to a point it also improves"
FLAT = "The information that a layer lets through hardly depends"
UNIT = "With fewer filters each unit"
SECOND = "The second layer lets less"
DISENTANGLED = "The representation becomes more disentangled"
BEYOND = "It becomes more disentangled than noise alone"
SOFTPLUS, RELU = "Behind softplus", "Behind a ReLU"
CLUTTER = "A larger beta lets less information through about the clutter"
FOUND = "The digit can be found in the noise"
NOT_FREE = "So it is where an empty background is not free"
BOUNDS = "A VAE with information dropout"
ONE = "With one strength for all widths information dropout errs less than binary"
COSTS = "One strength for all widths costs it less"
TIE = "With a strength for each width the methods tie"


def row(error, *, train=0.0, **columns):
    return {D: error, N: error, "train_error": train, "num_test": 10_000, "size": 64, **columns}


def judged(words, rows):
    claims = [claim for name in FIGURES for claim in figure(name).claims]
    claim = next(claim for claim in claims if claim.words.startswith(words))
    return claim.judge(pd.DataFrame(rows))


def judge(words, rows):
    return judged(words, rows).verdict


def spread(count, scale):
    """Numbers of mean zero, one a seed."""
    draws = NOISE.normal(size=count)
    return scale * (draws - draws.mean())


def methods(errors, *, stage="full", scale=1e-4, train=0.0, seeds=SEEDS, column=D):
    """Rows of methods at sizes; no noise is there too, at full length."""
    errors = {"none": errors["information"], **errors}
    rows = []
    for name, by_size in errors.items():
        for size, error in by_size.items():
            for seed, noise in zip(seeds, spread(len(seeds), scale), strict=True):
                each = row(0.5, seed=seed, size=size, dropout=name, train=train)
                each["stage"] = "full" if name == "none" else stage
                each[column] = error + noise
                rows.append(each | ({D: error} if name == "none" else {}))
    return rows


def rivals(binary, information, **options):
    return methods({"binary": binary, "constant": information, "information": information}, **options)


AHEAD = ({32: 0.08, 128: 0.03}, {32: 0.03, 128: 0.02})


@pytest.mark.parametrize(
    ("words", "options"),
    [(LESS, {}), (PROTOCOL, {"stage": "protocol"}), (LESS_N, {"column": N})],
)
def test_a_method_that_errs_less_at_every_size_is_found_in_its_own_rows(words, options):
    assert judge(words, rivals(*AHEAD, **options)) == REPRODUCED
    assert judge(words, rivals(*reversed(AHEAD), **options)) == NOT
    for other in {LESS, PROTOCOL, LESS_N} - {words}:
        assert judge(other, rivals(*AHEAD, **options)) != REPRODUCED


def test_what_differs_by_less_than_the_seeds_is_open():
    assert judge(LESS, rivals({32: 0.0302}, {32: 0.0300}, scale=1e-3)) == UNDECIDED
    assert judge("It errs less than constant", rivals(*AHEAD, scale=1e-3)) == UNDECIDED


def test_one_size_at_which_it_errs_more_refutes_every_size():
    # On average over the sizes it errs less by far.
    assert judge(LESS, rivals({32: 0.20, 128: 0.02}, {32: 0.03, 128: 0.03})) == NOT
    assert judge(LESS, rivals({32: 0.20, 128: 0.03}, {32: 0.03, 128: 0.03}, scale=1e-3)) == UNDECIDED


@pytest.mark.parametrize(("train", "verdict"), [(0.014, NOT), (0.016, CANNOT)])
def test_a_network_that_does_not_overfit_cannot_be_saved_from_it(train, verdict):
    losing = rivals({32: 0.02}, {32: 0.03}, train=train)
    assert judge(LESS, losing) == verdict
    assert ("does not overfit at 32" in judged(LESS, losing).ours) == (verdict == CANNOT)
    assert judge(LESS, rivals({32: 0.08}, {32: 0.03}, train=train)) == REPRODUCED


def test_two_seeds_are_not_judged_and_a_seed_without_all_of_its_runs_is_left_out():
    rows = rivals(*AHEAD)
    assert judge(LESS, [each for each in rows if each["seed"] in SEEDS[:2]]) == FEW
    partial = [each for each in rows if (each["seed"], each["dropout"], each["size"]) != (103, "binary", 128)]
    assert judged(LESS, partial).interval == "90 %, 4 seeds"


def test_the_page_is_told_how_many_seeds_were_planned():
    shown, rows = figure("fig3a"), pd.DataFrame(rivals(*AHEAD)).assign(preset="definitive")
    assert shown.judge(shown.claims[0], rows).interval == "90 %, 5 of 12 planned seeds"


def test_a_trial_is_no_result():
    trials = [row(0.9, size=32, dropout="information", stage="choice", seed=191) for _ in range(3)]
    assert judge(LESS, [*trials, *rivals(*AHEAD)]) == REPRODUCED


@pytest.mark.parametrize(
    ("more", "expected"), [(-0.01, REPRODUCED), (0.0, REPRODUCED), (0.0013, REPRODUCED), (0.0017, NOT)]
)
def test_comparable_is_within_the_margin(more, expected):
    others = {32: 0.03, 128: 0.02}
    ours = {size: error + more for size, error in others.items()}
    errors = {"binary": others, "constant": others, "none": others, "information": ours}
    assert judge(COMPARABLE, methods(errors, scale=1e-5)) == expected
    assert judge(COMPARABLE, methods(errors, scale=0.05)) == UNDECIDED


@pytest.mark.parametrize(
    ("binary", "information", "expected"),
    [
        (*AHEAD, REPRODUCED),
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
    assert judge(CLOSES, rivals(binary, information)) == expected


def by_beta(column, *values, seeds=SEEDS, scale=0.002, train=0.0):
    betas = (0.1, 1.0, 8.0, 64.0)
    return [
        row(0.5, setting=beta, seed=seed, train=train) | {column: value + noise}
        for beta, value in zip(betas, values, strict=False)
        for seed, noise in zip(seeds, spread(len(seeds), scale), strict=True)
    ]


@pytest.mark.parametrize(
    ("nuisance", "expected"),
    [
        ((0.3, 0.5, 0.75), REPRODUCED),
        ((0.75, 0.5, 0.3), NOT),
        # It rises on the whole, and falls by more than by chance at a step.
        ((0.3, 0.7, 0.6, 0.75), NOT),
        ((0.3, 0.7, 0.6999, 0.75), REPRODUCED),
        ((0.5, 0.5, 0.5001), UNDECIDED),
        # The probe reads nothing to begin with.
        ((0.81, 0.81, 0.8101), CANNOT),
        ((0.85, 0.87, 0.89), REPRODUCED),
    ],
)
def test_the_nuisance_error_must_rise(nuisance, expected):
    assert judge(INVARIANT, by_beta("nuisance_error_noisy", *nuisance)) == expected
    assert judge(INVARIANT, by_beta("nuisance_error_noisy", *nuisance, seeds=SEEDS[:2])) == FEW


@pytest.mark.parametrize("words", [IMPROVES, "Beta has an optimum"])
@pytest.mark.parametrize(
    ("errors", "train", "expected"),
    [
        ((0.5, 0.4, 0.8), 0.2, REPRODUCED),
        ((0.5, 0.4, 0.3), 0.2, UNDECIDED),
        ((0.4, 0.5, 0.8), 0.19, NOT),
        # The network at the smallest beta does not overfit.
        ((0.4, 0.5, 0.8), 0.21, CANNOT),
        ((0.5, 0.4, 0.8), 0.3, REPRODUCED),
        ((0.5, 0.45, 0.4, 0.8), 0.2, REPRODUCED),
    ],
)
def test_the_main_error_must_fall_before_it_rises(words, errors, train, expected):
    assert judge(words, by_beta(D, *errors, train=train)) == expected


def fig6(rates, seeds=SEEDS, scale=0.01):
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
        for seed, noise in zip(seeds, spread(len(seeds), scale), strict=True)
        for found in [rate * np.exp(noise)]
    ]


def test_flat_totals_and_the_order_of_the_layers():
    rows = fig6({"z1": {0.25: 100.0, 1.0: 110.0}, "z2": {0.25: 60.0, 1.0: 70.0}})
    assert [judge(words, rows) for words in (FLAT, UNIT, SECOND)] == [REPRODUCED] * 3
    steep = fig6({"z1": {0.25: 20.0, 1.0: 100.0}, "z2": {0.25: 60.0, 1.0: 70.0}})
    assert [judge(words, steep) for words in (FLAT, UNIT, SECOND)] == [NOT] * 3
    wild = fig6({"z1": {0.25: 100.0, 1.0: 110.0}, "z2": {0.25: 60.0, 1.0: 70.0}}, scale=2.0)
    assert [judge(words, wild) for words in (FLAT, UNIT, SECOND)] == [UNDECIDED] * 3


def test_half_as_much_again_over_four_times_the_filters_is_not_flat():
    # Exponents of log 1.52 / log 4 and log 1.38 / log 4, 0.30 and 0.23, and of the inverse.
    for low, high, expected in ((100.0, 152.0, NOT), (152.0, 100.0, NOT), (100.0, 138.0, REPRODUCED)):
        rows = fig6({"z1": {0.25: 100.0, 1.0: 100.0}, "z2": {0.25: low, 1.0: high}}, scale=1e-3)
        assert judge(FLAT, rows) == expected


def test_a_second_layer_must_let_less_through_at_every_share():
    assert judge(SECOND, fig6({"z1": {0.25: 59.0, 1.0: 110.0}, "z2": {0.25: 66.0, 1.0: 70.0}})) == NOT
    # Less in total, but half as many units let less than half as much through: less per unit.
    assert judge(SECOND, fig6({"z1": {0.25: 100.0, 1.0: 100.0}, "z2": {0.25: 45.0, 1.0: 70.0}})) == NOT


def test_a_layer_that_lets_nothing_through_has_no_rate_to_compare():
    silent = fig6({"z1": {0.25: 100.0, 1.0: 110.0}, "z2": {0.25: 60.0, 1.0: 0.5}})
    assert [judge(words, silent) for words in (FLAT, UNIT, SECOND)] == [CANNOT] * 3


def fig5(corrected, rates, seeds=SEEDS, control=None):
    return [
        row(0.5, setting=10.0**power, seed=seed, tc_corrected=tc * factor, tc_null=264.6)
        | {"rate/z1": 1e4, "rate/z2": rate, "noise_1_rate": rate, "noise_1_tc": tc * factor}
        | {
            f"noise_{f}_{n}": v
            for f, pair in (control or {}).items()
            for n, v in zip(("rate", "tc"), pair, strict=True)
        }
        for power, (tc, rate) in enumerate(zip(corrected, rates, strict=True))
        for seed, noise in zip(seeds, spread(len(seeds), 0.01), strict=True)
        for factor in [np.exp(noise)]
    ]


@pytest.mark.parametrize(
    ("corrected", "rates", "expected"),
    [
        ((2500.0, 600.0, 30.0), (4000.0, 1000.0, 50.0), REPRODUCED),
        ((30.0, 600.0, 2500.0), (4000.0, 1000.0, 50.0), NOT),
        ((2500.0, 600.0, 700.0), (4000.0, 1000.0, 50.0), NOT),
        # What lets no nat through is left out.
        ((2500.0, 600.0, 100.0, 700.0), (4000.0, 1000.0, 50.0, 0.5), REPRODUCED),
        ((2500.0, 600.0, 100.0), (4000.0, 1000.0, 0.5), UNDECIDED),
    ],
)
def test_the_total_correlation_must_fall_while_something_gets_through(corrected, rates, expected):
    assert judge(DISENTANGLED, fig5(corrected, rates)) == expected


def test_the_total_correlation_is_shown_beside_the_rate():
    shown = judged(DISENTANGLED, fig5((2480.0, 600.0, 30.0), (4000.0, 1000.0, 100.0), seeds=SEEDS[:3])).ours
    assert "62, 60, 30 % of it" in shown


@pytest.mark.parametrize(("share", "expected"), [(0.55, REPRODUCED), (0.65, NOT), (0.6, UNDECIDED)])
def test_noise_alone_disentangles_too(share, expected):
    # More noise leaves the first network 60 % of each rate.
    rates = (4000.0, 1000.0, 100.0)
    corrected = (2400.0, share * 1000, share * 100)
    control = {
        2: (2000.0, 1200.0),
        4: (500.0, 300.0),
        8: (200.0, 120.0),
        16: (80.0, 48.0),
        32: (9, 5),
        64: (2, 1),
    }
    assert judge(BEYOND, fig5(corrected, rates, control=control)) == expected
    assert judge(BEYOND, fig5(corrected, rates)) == FEW


@pytest.mark.parametrize(("words", "activation"), [(RELU, "relu"), (SOFTPLUS, "softplus")])
@pytest.mark.parametrize(("distance", "expected"), [(0.2, REPRODUCED), (0.3, NOT), (0.25, UNDECIDED)])
def test_each_activation_is_near_its_prior_or_not(words, activation, distance, expected):
    rows = [
        row(0.5, activation=name, distance=value + noise, seed=seed)
        for name in ("relu", "softplus")
        for seed, noise in zip(SEEDS, spread(5, 0.01), strict=True)
        # A row a bin.
        for value in [distance if name == activation else 9.0] * 2
    ]
    assert judge(words, rows) == expected


def fig2(outside, share, *, ink=0.28, inside=100.0, scale=0.01, seeds=SEEDS[:3], **columns):
    return [
        row(
            0.1,
            kind="share",
            setting=beta,
            seed=seed,
            site=site,
            rate_outside=rate * np.exp(noise),
            rate_in_box=inside,
            share_in_box=found + noise,
            chance=0.033,
            ink_in_box=ink,
            **columns,
        )
        for site in ("z1", "z2")
        for beta, rate, found in zip((0.1, 1.0, 8.0), outside, share, strict=True)
        for seed, noise in zip(seeds, spread(len(seeds), scale), strict=True)
    ]


FALLING, SHARE = (1000.0, 500.0, 100.0), (0.2, 0.3, 0.35)


def test_the_rate_outside_must_fall_with_beta():
    assert judge(CLUTTER, fig2(FALLING, SHARE)) == REPRODUCED
    assert judge(CLUTTER, fig2(FALLING[::-1], SHARE)) == NOT
    assert judge(CLUTTER, fig2((1000.0, 100.0, 500.0), SHARE)) == NOT
    mixed = fig2(FALLING, SHARE)
    for each in mixed:
        if each["site"] == "z2" and each["setting"] == 8.0:
            each["rate_outside"] *= 6
    assert judge(CLUTTER, mixed) == NOT
    assert judge(CLUTTER, fig2(FALLING, SHARE, seeds=SEEDS[:2])) == FEW


def test_the_share_must_exceed_that_of_the_ink_at_the_largest_beta():
    assert judge(FOUND, fig2(FALLING, SHARE)) == REPRODUCED
    # Above that of the area by far, but where the ink is the rate is.
    assert judge(FOUND, fig2(FALLING, (0.5, 0.5, 0.20))) == NOT
    assert judge(FOUND, fig2(FALLING, (0.5, 0.5, 0.281))) == UNDECIDED
    # No ink: still above that of the area.
    assert judge(FOUND, fig2(FALLING, (0.2, 0.3, 0.01), ink=0.0, scale=0.001)) == NOT


def test_the_control_is_judged_apart():
    plain, control = fig2(FALLING, SHARE), fig2(FALLING, (0.5, 0.5, 0.1), control="atom ignored")
    rows = [*plain, *[each for each in control if each["setting"] == 8.0]]
    assert judge(FOUND, rows) == REPRODUCED
    assert judge(CLUTTER, rows) == REPRODUCED
    assert judge(NOT_FREE, rows) == NOT
    assert judge(NOT_FREE, plain) == FEW


def test_a_layer_that_lets_nothing_through_has_no_share():
    silent = fig2((1000.0, 500.0, 0.1), (0.2, 0.3, 0.01), inside=0.2)
    assert judge(FOUND, silent) == UNDECIDED
    rows = [each for each in fig2(FALLING, SHARE) if each["site"] == "z1"]
    rows += [each for each in silent if each["site"] == "z2"]
    assert judge(FOUND, rows) == REPRODUCED


def table1(gaussian, information, scale=0.01, seeds=SEEDS[:3]):
    return [
        {"latent": latent, "size": k, "seed": seed, "bound": bound + noise}
        for latent, bounds in (("gaussian", gaussian), ("information", information))
        for k, bound in bounds.items()
        for seed, noise in zip(seeds, spread(len(seeds), scale), strict=True)
    ]


def test_bounds_are_close_within_two_nats_at_every_size():
    assert judge(BOUNDS, table1({1: -98.8, 2: -99.0}, {1: -100.0, 2: -99.1})) == REPRODUCED
    assert judge(BOUNDS, table1({1: -98.8, 2: -99.0}, {1: -100.0, 2: -101.1})) == NOT
    # The better of the two may be either.
    assert judge(BOUNDS, table1({1: -98.8, 2: -99.0}, {1: -96.0, 2: -99.1})) == NOT
    assert judge(BOUNDS, table1({1: -98.8, 2: -99.0}, {1: -100.0, 2: -99.1}, scale=2.0)) == UNDECIDED


def test_a_size_with_one_seed_is_told_and_not_judged():
    rows = table1({1: -98.8}, {1: -100.0}) + table1({2: -99.0}, {2: -120.0}, seeds=SEEDS[:1])
    assert judge(BOUNDS, rows) == REPRODUCED
    assert "k = 2: -99.00 and -120.00, Gaussian higher by +21.00 (1 seed)" in judged(BOUNDS, rows).ours
    assert judge(BOUNDS, table1({1: -98.8}, {1: -100.0}, seeds=SEEDS[:1])) == FEW


def panel(one, own, *, scale=1e-3, memory=0.1):
    rows = []
    for stage, errors in (("full", one), ("own", own)):
        for name, error in errors.items():
            for width, shift in ((12, 0.05), (128, -0.05)):
                for seed, noise in zip(SEEDS, spread(5, scale), strict=True):
                    each = row(error + shift + noise, seed=seed, size=width, dropout=name, stage=stage)
                    rows.append(each | {"train_error": memory if width == 128 else 0.4})
    return rows


OWN = {"information": 0.20, "binary": 0.201, "constant": 0.202}


def test_one_strength_for_all_widths():
    one = {"information": 0.21, "binary": 0.23, "constant": 0.24, "none": 0.3}
    assert [judge(words, panel(one, OWN)) for words in (ONE, COSTS, TIE)] == [REPRODUCED] * 3
    losing = {**one, "information": 0.25}
    assert [judge(words, panel(losing, OWN)) for words in (ONE, COSTS)] == [NOT] * 2
    assert [judge(words, panel(one, OWN, scale=0.1)) for words in (ONE, COSTS, TIE)] == [UNDECIDED] * 3
    assert judge(TIE, panel(one, {**OWN, "constant": 0.22})) == NOT
    assert judge(ONE, panel(losing, OWN, memory=0.21)) == CANNOT
    assert judge(ONE, panel(one, OWN, memory=0.21)) == REPRODUCED


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
