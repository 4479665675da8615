"""The post-noise histogram: areas are probabilities, and the prior is the density of log z."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from torch.distributions import LogNormal, Normal

from ib_pyro.plots import plot_post_noise


@pytest.fixture
def samples():
    """Three in ten are exactly zero, the others log-normal."""
    z = LogNormal(0.5, 0.8).sample((20_000,))
    return torch.where(torch.arange(20_000) % 10 < 3, 0.0, z).reshape(100, 200)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def histogram(ax):
    return ax.patches[0].get_data()


def prior(ax):
    return ax.lines[0].get_data()


def test_areas_sum_to_one_with_the_atom(ax, samples):
    plot_post_noise(samples, LogNormal(0.5, 0.8).log_prob, ax=ax)
    heights, edges, _ = histogram(ax)
    assert (heights * np.diff(edges)).sum() == pytest.approx(0.7)
    bar = ax.patches[1]
    assert (bar.get_width(), bar.get_height()) == pytest.approx((1.0, 0.3))
    assert bar.get_x() + 1 < edges[0]
    assert ax.get_xticklabels()[0].get_text() == "z = 0"


def test_a_prior_that_is_the_truth_lies_on_the_histogram(ax, samples):
    positive = samples[samples > 0]
    plot_post_noise(positive, LogNormal(0.5, 0.8).log_prob, bins=30, ax=ax)
    heights, edges, _ = histogram(ax)
    x, y = prior(ax)
    centres = (edges[1:] + edges[:-1]) / 2
    normal = np.exp(-0.5 * ((centres - 0.5) / 0.8) ** 2) / (0.8 * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(np.interp(centres, x, y), normal, atol=2e-3)
    # 14,000 samples in bins of about 0.2: the standard error of a height is below 0.013.
    np.testing.assert_allclose(heights, normal, atol=0.05)
    assert len(ax.patches) == 1


def test_the_log_uniform_prior_is_flat_at_its_constant(ax, samples):
    plot_post_noise(samples, lambda z: math.log(0.35) - z.log(), prior_atom=0.6, ax=ax)
    np.testing.assert_allclose(prior(ax)[1], 0.35, rtol=1e-5)
    (atom,) = ax.collections[0].get_segments()
    assert atom[:, 1].tolist() == [0.6, 0.6]


def test_rescaling_gives_the_prior_the_share_of_the_positive_samples(ax, samples):
    plot_post_noise(samples, lambda z: 3.0 - z.log(), rescale=True, ax=ax)
    x, y = prior(ax)
    assert trapezoid(y, x) == pytest.approx(0.7)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["20000 activations", "prior, z > 0 scaled to the range shown"]


def test_an_atom_of_the_prior_is_shown_where_samples_have_none(ax, samples):
    plot_post_noise(samples[samples > 0], LogNormal(0.5, 0.8).log_prob, prior_atom=0.2, ax=ax)
    assert ax.patches[1].get_height() == 0
    assert ax.collections[0].get_segments()[0][0, 1] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([-1.0, 1.0], {}, "samples: need finite values >= 0"),
        ([torch.nan], {}, "samples: need finite"),
        ([], {}, "samples: need finite"),
        ([0.0, 0.0], {}, "all 2 are 0: the layer is dead"),
        ([1.0, 2.0], {"bins": 0}, "bins, prior_atom: 0, None"),
        ([1.0, 2.0], {"prior_atom": 1.5}, "bins, prior_atom: 60, 1.5"),
    ],
)
def test_refusals(ax, values, options, message):
    with pytest.raises(ValueError, match=message):
        plot_post_noise(torch.tensor(values), torch.zeros_like, ax=ax, **options)


@pytest.mark.parametrize("dtype", [torch.int64, torch.half])
def test_the_prior_is_asked_for_the_z_of_its_own_grid(ax, dtype):
    z = torch.arange(1, 40).to(dtype)
    plot_post_noise(z, LogNormal(2.0, 0.8).log_prob, ax=ax)
    x, y = prior(ax)
    np.testing.assert_allclose(y, Normal(2.0, 0.8).log_prob(torch.as_tensor(x)).exp(), rtol=1e-4)


@pytest.mark.parametrize(
    ("log_density", "options", "said"),
    [
        (lambda z: z * torch.nan, {}, "log_density: the density is nan at z = 1, among 400 of 400 values"),
        (lambda z: torch.where(z > 1.5, torch.inf, 0.0), {}, "log_density: the density is inf at z = 1.5"),
        (lambda z: z[:, None].expand(-1, 3), {}, r"log_density: shape \[400, 3\] for \[400\] values of z"),
        (lambda z: torch.full_like(z, -torch.inf), {"rescale": True}, "rescale: the prior has no mass"),
    ],
    ids=["NaN", "infinite", "a column a unit", "no mass"],
)
def test_a_prior_that_is_no_line_is_refused(ax, log_density, options, said):
    with pytest.raises(ValueError, match=said):
        plot_post_noise(torch.tensor([1.0, 2.0]), log_density, ax=ax, **options)


def test_a_prior_is_zero_outside_of_its_support(ax):
    plot_post_noise(torch.tensor([1.0, 4.0]), lambda z: torch.where(z < 2, 0.0, -torch.inf), ax=ax)
    x, y = prior(ax)
    assert (y[x > math.log(2)] == 0).all()
    assert (y[x < math.log(2)] > 0).all()
