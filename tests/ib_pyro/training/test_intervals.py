"""Intervals cover what they are of as often as they say."""

import math

import pytest
import torch

from ib_pyro.training.intervals import normal, wilson


@pytest.mark.parametrize(("wrong", "size"), [(0, 20), (3, 20), (20, 20), (137, 1000)])
def test_wilsons_interval_by_its_formula(wrong, size):
    """Its ends are the shares p with |wrong / size - p| = z sqrt(p (1 - p) / size)."""
    found, z = wilson(wrong, size), 1.959963984540054
    assert found.estimate == wrong / size
    assert found.method == "wilson"
    for end in (found.low, found.high):
        gap = abs(wrong / size - end)
        assert gap == pytest.approx(z * math.sqrt(max(end * (1 - end), 0.0) / size), abs=1e-9)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_normal_interval_covers_the_mean_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    draws = torch.empty(2000, 200, dtype=torch.float64).exponential_(generator=generator)
    hits = [found.low < 1 < found.high for found in (normal(row, 0.9) for row in draws)]
    assert sum(hits) / len(hits) == pytest.approx(0.9, abs=0.03)
    first = normal(draws[0], 0.9)
    assert first.high - first.estimate == pytest.approx(first.estimate - first.low)


def test_one_sample_has_no_interval():
    found = normal(torch.tensor([2.0], dtype=torch.float64))
    assert found.estimate == 2.0
    assert math.isnan(found.low)
