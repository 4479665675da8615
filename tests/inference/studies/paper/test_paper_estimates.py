"""Intervals of differences have the width that their name promises, and verdicts follow them."""

import math

import pandas as pd
import pytest

from inference.studies.paper.statistics import (
    Estimate,
    all_gaps,
    error_gap,
    mean_estimate,
    steps,
)
from inference.studies.paper.verdicts import NOT, REPRODUCED, UNDECIDED, all_of, verdict, within

D = "test_error_deterministic"


def errors(*values, num_test=10_000):
    rows = [{D: value, "num_test": num_test, "seed": seed} for seed, value in enumerate(values)]
    return pd.DataFrame(rows)


def test_the_verdict_follows_the_interval():
    assert verdict(Estimate(1.0, 0.5, "")) == REPRODUCED
    assert verdict(Estimate(-1.0, 0.5, "")) == NOT
    assert verdict(Estimate(0.3, 0.5, "")) == UNDECIDED
    assert verdict(Estimate(-0.3, 0.5, "")) == UNDECIDED


def test_without_an_interval_the_sign_decides():
    assert verdict(Estimate(5.0, math.nan, "")) == REPRODUCED
    assert verdict(Estimate(-5.0, math.nan, "")) == NOT
    assert verdict(Estimate(0.0, math.nan, "")) == NOT


def test_near_zero_means_that_the_whole_interval_is():
    assert within(Estimate(-1.0, 0.5, ""), 2.0) == REPRODUCED
    assert within(Estimate(-1.0, 1.5, ""), 2.0) == UNDECIDED
    assert within(Estimate(-3.0, 0.5, ""), 2.0) == NOT
    assert within(Estimate(1.9, math.nan, ""), 2.0) == REPRODUCED
    assert within(Estimate(2.1, math.nan, ""), 2.0) == NOT


def test_the_worst_part_is_the_verdict_on_the_whole():
    assert all_of([REPRODUCED, UNDECIDED, NOT]) == NOT
    assert all_of([REPRODUCED, UNDECIDED]) == UNDECIDED
    assert all_of([REPRODUCED]) == REPRODUCED
    assert all_of([]) == UNDECIDED


def test_a_gap_over_seeds_has_welchs_interval():
    # Standard errors 0.1/sqrt(3) and 0.3/sqrt(3) points; Welch's degrees of freedom are 2 * 1.0**2 / 0.82.
    gap = error_gap(errors(0.030, 0.031, 0.032), errors(0.007, 0.010, 0.013), D)
    assert gap.value == pytest.approx(2.1)
    # t(0.975; 2.439) from the tables' neighbours 4.303 (2) and 3.182 (3): 3.64.
    assert gap.half == pytest.approx(3.64 * math.sqrt((0.1**2 + 0.3**2) / 3), rel=2e-2)


def test_joint_intervals_are_wider():
    groups = errors(0.030, 0.031, 0.032), errors(0.007, 0.010, 0.013)
    assert error_gap(*groups, D, parts=3).half > 1.4 * error_gap(*groups, D).half
    single = errors(0.3), errors(0.2)
    # Standard normal quantiles 0.9917 and 0.975.
    assert error_gap(*single, D, parts=3).half / error_gap(*single, D).half == pytest.approx(
        2.394 / 1.960, 1e-3
    )


def test_a_gap_of_single_fits_has_the_interval_of_the_test_images():
    gap = error_gap(errors(0.5), errors(0.5), D)
    assert gap.value == 0.0
    assert gap.half == pytest.approx(195.996 * math.sqrt(2 * 0.25 / 10_000), rel=1e-4)
    assert "one fit" in gap.basis


def test_gaps_of_seeds_that_agree_to_the_digit_have_no_width():
    gap = error_gap(errors(0.03, 0.03), errors(0.01, 0.01), D)
    assert (gap.value, gap.half) == (pytest.approx(2.0), 0.0)


def test_all_gaps_have_their_sign_and_the_width_of_games_and_howell():
    groups = [errors(0.30, 0.31, 0.32), errors(0.20, 0.21, 0.22), errors(0.10, 0.11, 0.12)]
    gaps = all_gaps(groups, D)
    assert gaps[0, 2].value == pytest.approx(20.0)
    assert gaps[2, 0].value == pytest.approx(-20.0)
    # Of equal spread each pair has four degrees of freedom: the studentised range of three means at 5 % is 5.040.
    for gap in gaps.values():
        assert gap.half == pytest.approx(5.040 / math.sqrt(3), rel=1e-3)


def test_the_spread_of_one_group_widens_no_gap_of_others():
    still, wild = errors(0.300, 0.301, 0.302), errors(0.1, 0.2, 0.3)
    calm = all_gaps([still, errors(0.310, 0.311, 0.312), still], D)[0, 1]
    beside = all_gaps([still, errors(0.310, 0.311, 0.312), wild], D)[0, 1]
    assert beside.half == pytest.approx(calm.half)


def test_all_gaps_of_single_fits_are_wider_than_those_of_one_pair():
    groups = [errors(0.5), errors(0.4), errors(0.3)]
    gap = all_gaps(groups, D)[0, 2]
    assert gap.value == pytest.approx(20.0)
    assert gap.half > 1.2 * error_gap(groups[0], groups[2], D).half


def test_steps_are_taken_seed_by_seed():
    first, second = pd.Series({0: 10.0, 1: 20.0, 2: 31.0}), pd.Series({1: 19.0, 0: 9.0, 2: 29.0, 3: 0.0})
    (step,) = steps([first, second], parts=1)
    assert step.value == pytest.approx(4 / 3)
    # Unpaired, the spread of the seeds would hide it.
    assert verdict(step) == UNDECIDED
    assert step.half == pytest.approx(4.302653 / 3, rel=1e-5)


def test_one_fit_has_no_interval():
    estimate = mean_estimate([3.0])
    assert math.isnan(estimate.half)
    assert estimate.text() == "+3.00"
    assert mean_estimate([1.0, 2.0, 3.0]).text(1) == "+2.0 ± 2.5"


def test_the_more_parts_a_claim_has_the_wider_is_the_interval_of_each():
    # Student's t with two degrees of freedom, 0.9875.
    assert mean_estimate([1.0, 2.0, 3.0], parts=2).half == pytest.approx(6.2054 / math.sqrt(3), rel=1e-4)
