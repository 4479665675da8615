"""Schedules are pure functions with the values of their formulas, and end on their target."""

import math
from functools import partial

import pytest

from ib_pyro.elbo.schedules import SCHEDULES, constant, cosine_warm_up, cyclical, linear_warm_up


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (partial(constant, target=3.0), {0: 3.0, 7: 3.0}),
        (partial(linear_warm_up, target=3.0, warm_up=10), {0: 0.0, 2.5: 0.75, 9: 2.7, 10: 3.0, 99: 3.0}),
        (partial(linear_warm_up, target=3.0, warm_up=10, start=1.0), {0: 1.0, 5: 2.0, 10: 3.0}),
        (partial(linear_warm_up, target=1.0, warm_up=10, start=25.0), {0: 25.0, 5: 13.0, 10: 1.0}),
        (partial(linear_warm_up, target=3.0, warm_up=0), {0: 3.0, 1: 3.0}),
        (
            partial(cosine_warm_up, target=4.0, warm_up=12),
            {0: 0.0, 4: 1.0, 6: 2.0, 8: 3.0, 12: 4.0, 20: 4.0},
        ),
        (partial(cosine_warm_up, target=4.0, warm_up=12, start=2.0), {0: 2.0, 6: 3.0, 12: 4.0}),
        (
            partial(cyclical, target=2.0, period=8),
            {0: 0.0, 1: 0.5, 4: 2.0, 7: 2.0, 8: 0.0, 10: 1.0, 15: 2.0},
        ),
        (partial(cyclical, target=2.0, period=8, ramp=0.25, start=1.0), {0: 1.0, 1: 1.5, 2: 2.0, 8: 1.0}),
        (partial(cyclical, target=2.0, period=8, ramp=1.0), {4: 1.0, 7: 1.75, 8: 0.0}),
        (partial(cyclical, target=2.0, period=8, ramp=0.0), {0: 2.0, 8: 2.0}),
    ],
)
def test_values(schedule, values):
    for step, value in values.items():
        assert schedule(step) == pytest.approx(value, abs=1e-12), step


@pytest.mark.parametrize("schedule", [linear_warm_up, cosine_warm_up])
def test_warm_up_is_monotone_and_ends_exactly_on_the_target(schedule):
    target = 0.1 + 0.2
    values = [schedule(step, target=target, warm_up=7, start=0.7 / 3) for step in range(10)]
    assert all(a <= b for a, b in zip(values, values[1:], strict=False))
    assert values[7:] == [target] * 3


def test_cosine_is_flat_at_both_ends_and_steepest_in_the_middle():
    step = 1e-6
    slopes = [
        (cosine_warm_up(at + step, target=1.0, warm_up=1.0) - cosine_warm_up(at, target=1.0, warm_up=1.0))
        / step
        for at in (0.0, 0.5, 1.0 - step)
    ]
    assert slopes == pytest.approx([0.0, math.pi / 2, 0.0], abs=1e-5)


def test_names_cover_the_functions():
    options = {"constant": {}, "linear": {"warm_up": 4}, "cosine": {"warm_up": 4}, "cyclical": {"period": 8}}
    assert {name: schedule(4, target=1.5, **options[name]) for name, schedule in SCHEDULES.items()} == (
        dict.fromkeys(options, 1.5)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(constant, -1, target=1.0), "step must be at least 0; got -1"),
        (partial(linear_warm_up, -1, target=1.0, warm_up=3), "step must be at least 0; got -1"),
        (partial(cyclical, -1, target=1.0, period=3), "step must be at least 0; got -1"),
        (partial(cosine_warm_up, 1, target=1.0, warm_up=-3), "warm_up must be at least 0; got -3"),
        (partial(cyclical, 1, target=1.0, period=0), "period must be positive; got 0"),
        (partial(cyclical, 1, target=1.0, period=2, ramp=1.5), r"ramp is a share of the period.*1\.5"),
        (partial(linear_warm_up, math.nan, target=1.0, warm_up=3), "step must be at least 0; got nan"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
