"""The diagnostics on a fitted stochastic network: the shapes meet, and the attack sees through the noise."""

from functools import partial

import pyro
import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.diagnostics import (
    active_units_by_rate,
    fgsm,
    gaussian_noise,
    out_of_distribution_auroc,
    pgd,
    predictive_entropy,
    rate_by_class,
    rate_by_unit,
    reliability_bins,
    robustness_curve,
)
from ib_pyro.nn import InformationDropout


@pytest.fixture(scope="module")
def data():
    """Two overlapping clouds in the unit square."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(128) % 2
    x = 0.3 + 0.4 * y[:, None] + 0.1 * torch.randn(128, 2, generator=generator)
    return x.clamp(0, 1), y


@pytest.fixture(scope="module")
def program(data):
    x, y = data
    with torch.random.fork_rng(), pyro.settings.context(module_local_params=True):
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), InformationDropout.linear(16, 8))
        program = Bottleneck(encoder, nn.Linear(8, 2), likelihood="categorical")
        loss = InformationBottleneckELBO(beta=1e-3)(program.model, program.guide)
        loss(x, y)
        optimiser = torch.optim.Adam(program.parameters(), lr=0.02)
        for _ in range(150):
            optimiser.zero_grad()
            loss(x, y).backward()
            optimiser.step()
    return program.eval()


def draws(program, x, num_samples=8):
    return torch.stack([y.logits for y in program.predictive(x, num_samples)])


def test_an_adversary_does_more_harm_than_noise(program, data):
    x, y = data
    predict = partial(draws, program)
    curves = {
        attack.__name__: robustness_curve(predict, x, y, attack, [0.0, 0.1, 0.3])
        for attack in (gaussian_noise, fgsm, pgd)
    }
    assert curves["fgsm"].error[0] < 0.1
    for attack in ("fgsm", "pgd"):
        # The clouds' centres are 0.4 apart in each pixel: 0.3 is beyond half of it, whatever the noise.
        assert curves[attack].loss[1] > 1.5 * curves[attack].loss[0]
        assert curves[attack].error[2] > 0.7 > curves["gaussian_noise"].error[2] + 0.2
    assert curves["pgd"].loss[1] > 0.95 * curves["fgsm"].loss[1]


def test_the_predictive_mean_cannot_be_attacked_and_says_what_can(program, data):
    with pytest.raises(ValueError, match=r"\.predictive has one"):
        fgsm(program.predict, *data, 0.1)


def test_uncertainty_and_rate_fit_together(program, data):
    x, y = data
    with torch.no_grad():
        p = draws(program, x, 32).exp()
        terms = InformationBottleneckELBO(beta=1e-3).terms(program.model, program.guide, x, y)
    entropy = predictive_entropy(p)
    assert entropy.total.shape == (128,)
    middle, corner = torch.full((50, 2), 0.5), torch.tensor([[0.05, 0.05], [0.95, 0.95]]).repeat(25, 1)
    scores = [predictive_entropy(draws(program, z, 32).exp()).total for z in (corner, middle)]
    assert out_of_distribution_auroc(*scores) > 0.9
    assert reliability_bins(p.mean(0), y).count.sum() == 128
    (rate,) = terms.rate.values()
    by_class = rate_by_class(rate, y)
    torch.testing.assert_close(by_class.mean(), rate.mean())


def test_elementwise_rates_of_the_layer(program, data):
    with torch.no_grad():
        rate = (0.7 / program.encoder[2].alpha(program.encoder[:2](data[0]))).log()
    assert rate_by_unit(rate).shape == (8,)
    assert 0 < active_units_by_rate(rate).count <= 8
