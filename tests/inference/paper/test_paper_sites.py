"""Rates by unit and position, and the priors of single units."""

import pytest
import torch

from ib_pyro.elbo import InformationBottleneckELBO
from inference.paper.fig2 import _share, box_coverage
from inference.paper.sites import elementwise_rates, sample_sites, scalar_prior
from models.all_cnn import AllCNN32
from models.mlp import MLP


@pytest.fixture
def x():
    return torch.rand(6, 3, 32, 32, dtype=torch.float64)


@pytest.mark.parametrize("activation", ["relu", "softplus"])
def test_elementwise_rates_sum_to_the_rates_of_the_objective(activation, x):
    program = AllCNN32(1 / 24, activation=activation).double().eval()
    rates = elementwise_rates(program, x, seed=4)
    torch.manual_seed(4)
    y = torch.zeros(6, dtype=torch.int64)
    terms = InformationBottleneckELBO().terms(program.model, program.guide, x, y)
    assert set(rates) == set(terms.rate)
    for site, rate in rates.items():
        assert rate.shape == sample_sites(program, x)[site].shape
        torch.testing.assert_close(rate.flatten(1).sum(1), terms.rate[site])


def test_batches_of_a_sample_come_in_the_order_of_the_images(x):
    program = AllCNN32(1 / 24, "none").double().eval()
    assert sample_sites(program, x) == {}
    noisy = AllCNN32(1 / 24, "constant", alpha=1e-9).double().eval()
    whole, parts = sample_sites(noisy, x), sample_sites(noisy, x, batch_size=4)
    for site, z in whole.items():
        torch.testing.assert_close(parts[site], z)


def test_the_prior_of_a_unit_is_the_layers(x):
    program = MLP(8, activation="softplus")
    layer = program.stochastic_layers["z1"]
    with torch.no_grad():
        layer.prior_loc.fill_(0.3)
        layer.prior_log_scale.fill_(-1.0)
    z = torch.tensor([0.5, 2.0])
    expected = torch.distributions.LogNormal(torch.tensor(0.3), torch.tensor(-1.0).exp()).log_prob(z)
    torch.testing.assert_close(scalar_prior(layer).log_prob(z), expected)


def test_the_log_uniform_prior_of_a_unit_is_flat_in_log_z():
    prior = scalar_prior(MLP(8).stochastic_layers["z1"])
    log_z = torch.linspace(-5, 5, 7)
    density = (prior.log_prob(log_z.exp()) + log_z).exp()
    torch.testing.assert_close(density, density[:1].expand(7))


def test_coverage_is_the_boxs_share_of_the_image():
    box = torch.tensor([[3, 10, 50, 17], [0, 0, 96, 96], [90, 90, 96, 96]])
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) / 96**2
    for cells in (48, 24, 12, 6):
        torch.testing.assert_close(box_coverage(box, cells, cells, 96).mean((1, 2)), area)


def test_an_even_rate_has_the_share_of_chance_and_a_rate_in_the_box_has_all():
    box = torch.tensor([[24, 48, 48, 72], [0, 0, 48, 48]])
    even = _share("z1", torch.ones(2, 12, 12), box)
    assert even["share_in_box"] == pytest.approx(even["chance"])
    inside = torch.zeros(2, 12, 12)
    inside[0, 6:9, 3:6] = 1.0
    inside[1, :6, :6] = 1.0
    full = _share("z1", inside, box)
    assert full["share_in_box"] == pytest.approx(1.0)
    assert full["rate_outside"] == pytest.approx(0.0, abs=1e-6)
    assert full["rate_in_box"] == pytest.approx((9 + 36) / 2)
