"""Verdicts on made-up numbers whose answer is known."""

import math

import pytest

from inference.paper.claims import CLAIMS
from inference.paper.estimates import NOT, REPRODUCED, UNDECIDED, Estimate, all_of, error_gap, verdict
from inference.paper.fig3a import chosen_settings, runs

D = "test_error_deterministic"


def row(error, **columns):
    return {D: error, "test_error_noisy": error, "num_test": 10_000, "seed": 0, "size": 64, **columns}


def judge(words, rows):
    claim = next(claim for claim in CLAIMS if claim.words.startswith(words))
    return claim.judge(rows)


def test_the_verdict_follows_the_interval():
    assert verdict(Estimate(1.0, 0.5, "")) == REPRODUCED
    assert verdict(Estimate(-1.0, 0.5, "")) == NOT
    assert verdict(Estimate(0.3, 0.5, "")) == UNDECIDED
    assert verdict(Estimate(5.0, math.nan, "")) == UNDECIDED
    assert all_of([REPRODUCED, UNDECIDED, NOT]) == NOT


def test_a_gap_over_seeds_has_students_interval():
    more = [row(0.03 + 0.001 * seed, seed=seed) for seed in range(3)]
    less = [row(0.01, seed=seed) for seed in range(3)]
    gap = error_gap(more, less, D)
    assert gap.value == pytest.approx(2.1)
    assert gap.half == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-5)


def test_a_gap_of_single_fits_has_the_interval_of_the_test_images():
    gap = error_gap([row(0.5)], [row(0.5)], D)
    assert gap.value == 0.0
    assert gap.half == pytest.approx(196 * math.sqrt(2 * 0.25 / 10_000))
    assert "one fit" in gap.basis


def methods(binary, information):
    columns = {"stage": "full"}
    return [
        row(error + 1e-4 * seed, seed=seed, size=size, dropout=dropout, **columns)
        for dropout, errors in (("binary", binary), ("information", information), ("constant", information))
        for size, error in errors.items()
        for seed in range(3)
    ]


def test_a_method_that_errs_less_is_found():
    rows = methods({32: 0.08, 128: 0.03}, {32: 0.03, 128: 0.02})
    assert judge("Information dropout errs less than binary dropout on MNIST", rows).verdict == REPRODUCED
    assert judge("It does so most on small networks", rows).verdict == REPRODUCED
    assert judge("It errs less than constant", rows).verdict == UNDECIDED


def test_a_method_that_errs_more_is_a_negative_that_stays():
    rows = methods({32: 0.02, 128: 0.02}, {32: 0.03, 128: 0.04})
    assert judge("Information dropout errs less than binary dropout on MNIST", rows).verdict == NOT


@pytest.mark.parametrize(("nuisance", "expected"), [((0.3, 0.5, 0.8), REPRODUCED), ((0.8, 0.5, 0.3), NOT)])
def test_the_nuisance_error_must_rise(nuisance, expected):
    rows = [
        row(0.5, setting=beta, nuisance_error_noisy=error)
        for beta, error in zip((0.1, 1.0, 8.0), nuisance, strict=True)
    ]
    assert judge("A larger beta makes the representation more invariant", rows).verdict == expected


def test_the_main_error_must_fall_before_it_rises():
    def rows(*errors):
        return [row(error, setting=beta) for beta, error in zip((0.1, 1.0, 8.0), errors, strict=True)]

    assert judge("Up to a point it also improves", rows(0.5, 0.4, 0.8)).verdict == REPRODUCED
    assert judge("Up to a point it also improves", rows(0.4, 0.5, 0.8)).verdict == NOT
    assert judge("Up to a point it also improves", rows(0.4, 0.399, 0.8)).verdict == UNDECIDED


def fig6(rates):
    units = {"z1": 6144, "z2": 3072}
    return [
        row(0.3, site=site, size=share, site_rate=rate, rate_per_unit=rate / (units[site] * share))
        for site, by_share in rates.items()
        for share, rate in by_share.items()
    ]


def test_flat_totals_and_the_order_of_the_layers():
    rows = fig6({"z1": {0.25: 100.0, 1.0: 110.0}, "z2": {0.25: 60.0, 1.0: 70.0}})
    assert judge("The information that a layer lets through hardly depends", rows).verdict == REPRODUCED
    assert judge("With fewer filters each unit", rows).verdict == REPRODUCED
    assert judge("The second layer lets less", rows).verdict == REPRODUCED
    steep = fig6({"z1": {0.25: 25.0, 1.0: 100.0}, "z2": {0.25: 60.0, 1.0: 70.0}})
    assert judge("The information that a layer lets through hardly depends", steep).verdict == NOT
    assert judge("With fewer filters each unit", steep).verdict == NOT
    assert judge("The second layer lets less", steep).verdict == NOT


def trial(dropout, setting, error):
    return {
        "stage": "choice",
        "dropout": dropout,
        "setting": setting,
        "validation_error_deterministic": error,
    }


def test_every_method_chooses_among_as_many_candidates_and_the_full_runs_take_its_choice():
    trials = runs("paper", [])
    counts = [sum(run.dropout == name for run in trials) for name in ("information", "binary", "constant")]
    assert len(set(counts)) == 1
    assert all(run.validation_images is None for run in trials)
    rows = [trial(run.dropout, run.rate_setting, abs(run.rate_setting - 0.4)) for run in trials]
    assert chosen_settings(rows) == {"information": 0.3, "binary": 0.5, "constant": 0.4}
    normed = [run for run in runs("paper", rows) if run.validation_images == 0 and run.batch_norm]
    full = [run for run in normed if run.stage is None]
    assert {run.beta_paper for run in normed if run.stage == "second beta"} == {3.0}
    assert {run.drop_prob for run in full if run.dropout == "binary"} == {0.5}
    assert {run.beta_paper for run in full if run.dropout == "information"} == {0.3}
    assert len(full) == 4 * 6 * 5
