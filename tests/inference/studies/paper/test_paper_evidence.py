"""One-sided tests over seeds, on numbers whose answer is known, in both directions."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from inference.studies.paper.evidence import (
    FEW,
    LEVEL,
    NOT,
    REPRODUCED,
    UNDECIDED,
    Part,
    between,
    complete_seeds,
    differences,
    either,
    every,
    falls_then_rises,
    positive,
    trend,
)


def part(right, wrong=None, seeds=5):
    return Part(0.0, 0.0, right, 1 - right if wrong is None else wrong, seeds)


def seeds(*values):
    return pd.Series(values, index=range(101, 101 + len(values)))


def test_a_number_is_tested_by_the_one_sided_t_of_its_seeds():
    values = [0.3, 0.1, 0.7, -0.2]
    found = positive(values)
    assert found.right == pytest.approx(ttest_1samp(values, 0, alternative="greater").pvalue)
    assert found.wrong == pytest.approx(ttest_1samp(values, 0, alternative="less").pvalue)
    interval = ttest_1samp(values, 0).confidence_interval(0.9)
    assert found.half == pytest.approx((interval.high - interval.low) / 2)
    assert (found.value, found.seeds) == (pytest.approx(0.225), 4)


def test_the_interval_says_what_the_test_says():
    # Where the lower end of the 90 % interval touches zero, the one-sided test is at 5 %.
    values = np.array([1.0, 2.0, 3.0])
    edge = positive(values - values.mean() + positive(values).half)
    assert edge.right == pytest.approx(LEVEL)


def test_seeds_that_agree_to_the_digit_leave_no_doubt():
    assert (positive([0.3] * 3).right, positive([0.3] * 3).wrong) == (0.0, 1.0)
    assert (positive([-0.3] * 3).right, positive([-0.3] * 3).wrong) == (1.0, 0.0)
    assert (positive([0.0] * 3).right, positive([0.0] * 3).wrong) == (0.5, 0.5)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [1.0, math.inf]])
def test_what_is_not_there_is_refused(values):
    with pytest.raises(ValueError, match="values: "):
        positive(values)


def test_every_part_must_hold_and_none_pays_for_the_others():
    assert every([part(0.049)] * 6) == REPRODUCED
    assert every([part(0.049)] * 5 + [part(0.051)]) == UNDECIDED


def test_one_part_refutes_the_whole_at_its_share_of_the_level():
    assert every([part(0.001), part(0.999, 0.0249)]) == NOT
    assert every([part(0.001), part(0.999, 0.0251)]) == UNDECIDED


def test_some_part_holds_at_its_share_of_the_level_and_all_must_fail():
    assert either([part(0.0249), part(0.9)]) == REPRODUCED
    assert either([part(0.0251), part(0.9)]) == UNDECIDED
    assert either([part(0.96, 0.04), part(0.97, 0.03)]) == NOT
    assert either([part(0.96, 0.04), part(0.94, 0.06)]) == UNDECIDED


def test_two_seeds_are_too_few():
    assert every([part(0.001), part(0.001, seeds=2)]) == FEW
    assert either([part(0.001, seeds=2)]) == FEW
    assert every([part(0.001, seeds=3)]) == REPRODUCED
    assert every([]) == either([]) == UNDECIDED


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, REPRODUCED), (1.9, REPRODUCED), (-1.9, REPRODUCED), (2.1, NOT), (-2.1, NOT)]
)
def test_within_a_bound_is_two_tests(value, expected):
    assert every(between(value + np.array([-0.01, 0.0, 0.01]), 2.0)) == expected
    assert every(between(value + np.array([-3.0, 0.0, 3.0]), 2.0)) == UNDECIDED


def test_steps_are_taken_within_a_seed_and_on_a_log_scale_where_it_is_asked_for():
    first, second = seeds(10.0, 20.0, 31.0), seeds(9.0, 19.0, 29.0).iloc[::-1]
    (step,) = differences([first, second])
    assert step.value == pytest.approx(4 / 3)
    assert step.right < LEVEL
    (ratio,) = differences([first, first / 2], log=True)
    assert ratio.value == pytest.approx(math.log(2))
    with pytest.raises(ValueError, match="no logarithm"):
        differences([first, first - 20], log=True)


def test_a_trend_is_pages_over_the_seeds():
    rising = [seeds(1.0, 2.0, 3.0) + step for step in (0.0, 0.1, 0.2)]
    found = trend(rising, rises=True)
    # Three blocks that agree: one of 6**3 orders.
    assert found.right == pytest.approx(1 / 216)
    assert found.wrong == pytest.approx(1.0)
    assert found.value == pytest.approx(0.1)
    assert every([found]) == REPRODUCED
    assert every([trend(rising, rises=False)]) == NOT
    mixed = [seeds(1.0, 2.0, 3.0), seeds(2.0, 1.0, 3.5), seeds(1.5, 2.5, 2.0)]
    assert every([trend(mixed, rises=True)]) == UNDECIDED


def test_a_trend_is_within_a_seed_whatever_the_seeds_differ_by():
    rising = [seeds(0.0, 100.0, -50.0) + step for step in (0.0, 0.1, 0.2)]
    assert every([trend(rising, rises=True)]) == REPRODUCED


def test_two_points_have_no_trend():
    with pytest.raises(ValueError, match="2 points"):
        trend([seeds(1.0, 2.0, 3.0)] * 2, rises=True)


JITTER = np.array([0.0, 0.001, 0.002])


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ((0.5, 0.4, 0.8), REPRODUCED),
        ((0.5, 0.45, 0.4, 0.8), REPRODUCED),
        # It falls to the end: no optimum inside.
        ((0.5, 0.4, 0.3), UNDECIDED),
        ((0.4, 0.5, 0.8), NOT),
        ((0.4, 0.39, 0.37), UNDECIDED),
    ],
)
def test_an_optimum_lies_inside(means, expected):
    word, fall, rise = falls_then_rises([seeds(*(mean + JITTER)) for mean in means])
    assert word == expected
    best = min(means[1:-1])
    assert (fall.value, rise.value) == (pytest.approx(means[0] - best), pytest.approx(means[-1] - best))


def test_the_best_of_many_points_is_not_taken_at_its_word():
    # p = 0.03 at one of four inner points.
    t = 3.0
    dip = -(t / math.sqrt(3)) * 0.01 + 0.01 * np.array([-1.0, 0.0, 1.0])
    flat = [seeds(0.5, 0.5, 0.5) + 0.01 * np.array([1.0, -1.0, 0.0]) for _ in range(3)]
    series = [seeds(0.5, 0.5, 0.5), *flat, seeds(*(0.5 + dip)), seeds(0.9, 0.9, 0.9)]
    assert positive(series[0] - series[4]).right == pytest.approx(0.0477, abs=1e-3)
    assert falls_then_rises(series)[0] == UNDECIDED
    assert falls_then_rises([series[0], series[4], series[5]])[0] == REPRODUCED


def test_a_seed_without_one_of_its_runs_does_not_count():
    rows = pd.DataFrame(
        [
            {"seed": seed, "size": size, "dropout": name}
            for seed in (1, 2, 3)
            for size in (8, 16)
            for name in "ab"
        ]
    )
    assert len(complete_seeds(rows, ["size", "dropout"])) == 12
    found = complete_seeds(rows.drop(index=5), ["size", "dropout"])
    assert sorted(found["seed"].unique()) == [1, 3]


@pytest.mark.parametrize("truth", [0.0, 0.1])
def test_the_level_is_what_it_says(truth):
    """Of claims at the edge of the truth about one in twenty is called reproduced."""
    rng = np.random.default_rng(3)
    words = [
        every([positive(rng.normal(0.0, 1, 5)), positive(rng.normal(20 * truth + 3, 1, 5))])
        for _ in range(2000)
    ]
    share = words.count(REPRODUCED) / len(words)
    assert share == pytest.approx(0.05, abs=0.015)
    assert words.count(NOT) / len(words) <= 0.04
