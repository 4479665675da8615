"""Figure 1's numbers of a layer whose law is known: log z is normal, and the prior is, or is not, that normal."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.nn import functional as F

from ib_pyro.data import LabelledImages
from inference.runs.spec import RunSpec
from inference.runs.splits import Splits
from inference.studies.paper import fig1
from models.mlp import MLP

IMAGES, UNITS = 500, 80
ALPHA_MIN = 1e-3
# Quantiles 0.001 to 0.999 are shown.
SHOWN = 0.998


def constant(layer, bias, alpha):
    """Let a layer's z be ``f(bias) * eps`` with ``log eps ~ N(0, alpha²)`` whatever its input."""
    share = (alpha - ALPHA_MIN) / (layer.alpha_max - ALPHA_MIN)
    with torch.no_grad():
        layer.features.weight.zero_()
        layer.features.bias.copy_(bias)
        layer.noise.weight.zero_()
        layer.noise.bias.fill_(math.log(share / (1 - share)))


@pytest.fixture
def measured():
    """A builder of the figure's rows for a last layer of known law, behind one of another law."""

    def measure(activation, bias, alpha, prior_shift=0.0):
        program = MLP(
            [3, UNITS], activation=activation, batch_norm=False, image_shape=(1, 2, 2), alpha_max=1.0
        )
        first, last = program.stochastic_layers.values()
        constant(first, torch.full((3,), 5.0), 0.9)
        constant(last, bias, alpha)
        if activation == "softplus":
            with torch.no_grad():
                last.prior_loc.fill_(F.softplus(bias[0]).log() + prior_shift * alpha)
                last.prior_log_scale.fill_(math.log(alpha))
        data = LabelledImages(torch.rand(IMAGES, 1, 2, 2), torch.zeros(IMAGES, dtype=torch.int64), ("a", "b"))
        splits = Splits(data, None, data, "stand-in")
        run = RunSpec.of(model="mlp", data="mnist", hidden=UNITS, activation=activation, beta_paper=1.0)
        rows = fig1.measure(run, {}, lambda: (program.eval(), splits))
        return rows, {
            name: np.array([row[name] for row in rows]) for name in ("left", "right", "density", "prior")
        }

    return measure


@pytest.mark.parametrize("alpha", [0.1, 0.6])
def test_the_histogram_and_the_prior_are_the_normal_density_of_log_z(measured, alpha):
    rows, column = measured("softplus", torch.full((UNITS,), 0.4), alpha)
    mean = math.log(math.log1p(math.exp(0.4)))
    width = column["right"] - column["left"]
    law = norm(mean, alpha)
    np.testing.assert_allclose(column["prior"], law.pdf((column["left"] + column["right"]) / 2), rtol=1e-4)
    in_bins = np.diff(law.cdf(np.append(column["left"], column["right"][-1])))
    # Counts of some hundreds a bin: the distance in total variation of as many bins from their expectation.
    assert np.abs(column["density"] * width - in_bins).sum() < 0.06
    assert (column["density"] * width).sum() == pytest.approx(SHOWN, abs=1e-3)
    assert {row["zeros"] for row in rows} == {0.0}
    assert {row["activations"] for row in rows} == {IMAGES * UNITS}
    assert {row["site"] for row in rows} == {"z2"}


@pytest.mark.parametrize("alpha", [0.1, 0.6])
def test_the_distance_is_in_standard_deviations_of_log_z_whatever_their_size(measured, alpha):
    bias = torch.full((UNITS,), 0.4)
    (equal, *_), _ = measured("softplus", bias, alpha)
    assert equal["distance"] < 0.03
    # What is moved moves by as much; of a normal density cut off at three deviations a little is lost.
    (shifted, *_), _ = measured("softplus", bias, alpha, prior_shift=0.5)
    assert shifted["distance"] == pytest.approx(0.5, rel=0.05)


def test_units_that_are_off_are_counted_and_lower_the_density(measured):
    bias = torch.full((UNITS,), 2.0)
    bias[: UNITS // 4] = -2.0
    rows, column = measured("relu", bias, 0.3)
    width = column["right"] - column["left"]
    assert {row["zeros"] for row in rows} == {0.25}
    assert (column["density"] * width).sum() == pytest.approx(0.75 * SHOWN, abs=1e-3)


def test_the_log_uniform_prior_is_level_and_has_the_mass_of_the_histogram(measured):
    bias = torch.full((UNITS,), 2.0)
    bias[: UNITS // 4] = -2.0
    _, column = measured("relu", bias, 0.3)
    width = column["right"] - column["left"]
    np.testing.assert_allclose(column["prior"], column["prior"][0], rtol=1e-4)
    assert (column["prior"] * width).sum() == pytest.approx((column["density"] * width).sum(), rel=1e-5)
