"""Intervals of differences have the width that their name promises."""

import math

import pandas as pd
import pytest

from inference.studies.paper.statistics import error_gap

D = "test_error_deterministic"


def errors(*values, num_test=10_000):
    rows = [{D: value, "num_test": num_test, "seed": seed} for seed, value in enumerate(values)]
    return pd.DataFrame(rows)


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
