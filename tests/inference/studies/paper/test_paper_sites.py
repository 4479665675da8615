"""Rates by unit and position, and the priors of single units."""

import pytest
import torch

from ib_pyro.diagnostics import elementwise_rates, rate_by_position
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.training.noisy_sites import read_sites, sample_sites, scalar_prior
from inference.studies.paper.information_maps import box_coverage, share_in_box
from models.all_cnn import AllCNN32
from models.mlp import MLP


@pytest.fixture
def x():
    return torch.rand(6, 3, 32, 32, dtype=torch.float64)


@pytest.mark.parametrize("activation", ["relu", "softplus"])
def test_maps_are_those_of_the_whole_rates_under_the_noise_of_each_batch(activation, x):
    program = AllCNN32(1 / 24, activation=activation).double().eval()
    parts = []

    def read(part):
        parts.append(len(part))
        return {site: rate_by_position(rate) for site, rate in elementwise_rates(program, part).items()}

    state = torch.get_rng_state()
    maps = read_sites(program, x, read, seed=4, batch_size=4)
    assert parts == [4, 2]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    rates = [elementwise_rates(program, part) for part in x.split(4)]
    y = torch.zeros(4, dtype=torch.int64)
    torch.manual_seed(4)
    terms = InformationBottleneckELBO().terms(program.model, program.guide, x[:4], y)
    assert set(maps) == set(terms.rate)
    for site, rate in maps.items():
        torch.testing.assert_close(rate, torch.cat([part[site].sum(1) for part in rates]))
        torch.testing.assert_close(rate[:4].sum((1, 2)), terms.rate[site].detach())


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
    x = torch.rand(2, 1, 96, 96)
    even = share_in_box(torch.ones(2, 12, 12), x, box)
    assert even["share_in_box"] == pytest.approx(even["chance"])
    inside = torch.zeros(2, 12, 12)
    inside[0, 6:9, 3:6] = 1.0
    inside[1, :6, :6] = 1.0
    full = share_in_box(inside, x, box)
    assert full["share_in_box"] == pytest.approx(1.0)
    assert full["rate_outside"] == pytest.approx(0.0, abs=1e-6)
    assert full["rate_in_box"] == pytest.approx((9 + 36) / 2)


@pytest.mark.parametrize("cells", [48, 24, 12, 6])
def test_the_boxs_share_of_the_ink_is_that_of_sums_over_the_images(cells):
    x = torch.zeros(2, 1, 96, 96)
    x[0, 0, 16:32, 32:64] = 0.5  # a digit of 256 in its box,
    x[0, 0, 64:80, 64:80] = 1.0  # and clutter of 256 outside
    x[1, 0, :32, :48] = 1.0  # a digit of 1536, all of the ink
    box = torch.tensor([[32, 16, 64, 32], [0, 0, 48, 32]])
    row = share_in_box(torch.rand(2, cells, cells), x, box)
    assert row["ink_in_box"] == pytest.approx((256 + 1536) / (2 * 256 + 1536))
