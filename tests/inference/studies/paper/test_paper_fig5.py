"""Figure 5's total correlation: that of log z of the last layer, known in closed form, without a sample's bias."""

import math

import pytest
import torch

from ib_pyro.data import LabelledImages
from inference.runs.spec import RunSpec
from inference.runs.splits import Splits
from inference.studies.paper import fig5
from models.mlp import MLP

ALPHA, SPREAD = 0.5, 1.0


def silence(layer):
    """Bring a layer's noise to its smallest."""
    with torch.no_grad():
        layer.noise.weight.zero_()
        layer.noise.bias.fill_(-100.0)


def build(units, *, common):
    """Two layers: a copy of the pixel, then ``units`` noisy copies of it, or, without ``common``, of a constant."""
    program = MLP([1, units], activation="softplus", batch_norm=False, image_shape=(1, 1, 1), alpha_max=1.0)
    first, last = program.stochastic_layers.values()
    silence(first)
    share = (ALPHA - 1e-3) / (1.0 - 1e-3)
    with torch.no_grad():
        first.features.weight.fill_(1.0)
        first.features.bias.zero_()
        last.features.weight.fill_(1.0 if common else 0.0)
        last.features.bias.fill_(0.0 if common else 2.0)
        last.noise.weight.zero_()
        last.noise.bias.fill_(math.log(share / (1 - share)))
    return program.eval()


@pytest.fixture
def measured():
    """A builder of the figure's row for a program on log-normal pixels, far from where softplus bends."""

    def measure(program, images, seed=0):
        x = (10 + SPREAD * torch.randn(images, 1, 1, 1)).exp()
        data = LabelledImages(x, torch.zeros(images, dtype=torch.int64), ("a", "b"))
        splits = Splits(data, None, data, "stand-in")
        run = RunSpec.of(data="mnist", hidden=1, activation="softplus", beta_paper=1.0, seed=seed)
        (row,) = fig5.measure(run, {}, lambda: (program, splits))
        return row

    return measure


def test_it_is_the_closed_form_of_normal_units_with_a_common_part(measured):
    row = measured(build(2, common=True), images=4000)
    correlation = SPREAD**2 / (SPREAD**2 + ALPHA**2)
    expected = -0.5 * math.log(1 - correlation**2)
    assert row["tc_dimensions"] == 2
    assert row["tc_samples"] == 4000
    # Five standard errors of a correlation's Fisher form. That of z itself is 0.32 and not 0.51.
    assert row["tc_estimate"] == pytest.approx(expected, abs=0.08)
    assert row["tc_corrected"] == pytest.approx(expected, abs=0.08)
    assert row["tc_per_dimension"] == pytest.approx(row["tc_estimate"] / 2)


def test_independent_units_in_a_small_sample_have_the_null_and_nothing_over_it(measured):
    program = build(20, common=False)
    rows = [measured(program, images=60, seed=seed) for seed in range(12)]
    assert {row["tc_dimensions"] for row in rows} == {20}
    mean = {name: sum(row[name] for row in rows) / 12 for name in ("tc_estimate", "tc_null", "tc_corrected")}
    # To leading order d (d - 1) / (4 n), and more at a third of the sample's size.
    assert mean["tc_null"] > 20 * 19 / (4 * 60)
    assert mean["tc_estimate"] == pytest.approx(mean["tc_null"], rel=0.15)
    assert abs(mean["tc_corrected"]) < 0.15 * mean["tc_null"]


def test_no_more_units_are_taken_than_the_images_tell_apart(measured):
    assert measured(build(20, common=False), images=9)["tc_dimensions"] == 3
