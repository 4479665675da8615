"""The rate of every unit: for each layer and prior it sums to the objective's, and has the shape of z."""

import math
from collections import OrderedDict

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO, noise_off
from ib_pyro.diagnostics import elementwise_rates
from ib_pyro.distributions import ZeroInflatedLogUniform
from ib_pyro.nn import (
    AdditiveNormal,
    BinaryDropout,
    ConstantDropout,
    GaussianDropout,
    InformationDropout,
    StochasticLayer,
)

BATCH, CHANNELS = 5, 3


def correlated(event_shape):
    """A prior under which the units of an event depend on each other."""
    size = event_shape.numel()
    covariance = torch.eye(size, dtype=torch.float64) + 0.5
    return dist.MultivariateNormal(torch.zeros(size, dtype=torch.float64), covariance)


def by_channel(event_shape):
    """Log-normal units, of another mean in each channel."""
    shifts = torch.arange(event_shape[0], dtype=torch.float64).reshape(-1, *(1,) * (len(event_shape) - 1))
    return dist.LogNormal(shifts.expand(event_shape), 1.5).to_event(len(event_shape))


LAYERS = {
    "log-uniform": (InformationDropout, {"gate": 0.3}),
    "log-uniform, atom ignored": (InformationDropout, {"atom": "ignore", "alpha_max": 1.2}),
    "log-normal": (InformationDropout, {"activation": "softplus", "prior": "log-normal", "unit_mean": True}),
    "normal-like": (InformationDropout, {"activation": "softplus", "prior": dist.LogNormal(0.5, 2.0)}),
    "by channel": (InformationDropout, {"activation": "softplus", "prior": by_channel}),
    "gaussian": (GaussianDropout, {"alpha": 0.3, "gate": 0.5}),
    "gaussian by unit": (GaussianDropout, {"units": CHANNELS, "approximation": "kingma"}),
    "constant": (ConstantDropout, {"alpha": 0.4}),
    "binary": (BinaryDropout, {}),
    "additive": (AdditiveNormal, {}),
}


@pytest.fixture
def y():
    return torch.zeros(BATCH, dtype=torch.int64)


@pytest.fixture(params=["dense", "convolutional"])
def x(request):
    return torch.randn(BATCH, 4, *(() if request.param == "dense" else (6, 6)), dtype=torch.float64)


def program_of(layer, options, x):
    """Two noisy layers, with parameters away from where they start."""
    if x.dim() == 2:
        sites = [layer.linear(4, CHANNELS, **options), layer.linear(CHANNELS, CHANNELS, **options)]
        head = nn.Linear(CHANNELS, 2)
    else:
        sites = [
            layer.conv2d(4, CHANNELS, 3, padding=1, **options),
            layer.conv2d(CHANNELS, CHANNELS, 3, 2, **options),
        ]
        head = nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * 4, 2))
    program = Bottleneck(nn.Sequential(OrderedDict(low=sites[0], high=sites[1])), head).double().eval()
    with torch.no_grad():
        for parameter in program.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return program


@pytest.mark.parametrize("kind", LAYERS)
def test_they_sum_to_the_rates_of_the_objective(kind, x, y):
    program = program_of(*LAYERS[kind], x)
    pyro.set_rng_seed(4)
    rates = elementwise_rates(program, x)
    pyro.set_rng_seed(4)
    terms = InformationBottleneckELBO().terms(program.model, program.guide, x, y)
    assert list(rates) == ["low", "high"]
    assert set(rates) == set(terms.rate)
    for site, z in program.latents(x).items():
        assert (rates[site].shape, rates[site].dtype) == (z.shape, torch.float64)
        torch.testing.assert_close(rates[site].flatten(1).sum(1), terms.rate[site].detach())


@pytest.mark.parametrize("kind", ["constant", "binary"])
def test_what_the_objective_does_not_charge_is_zero(kind, x):
    for rate in elementwise_rates(program_of(*LAYERS[kind], x), x).values():
        torch.testing.assert_close(rate, torch.zeros_like(rate), rtol=0, atol=1e-12)


def test_a_unit_by_hand():
    x = torch.tensor([[2.0, 0.0], [-1.0, 3.0]], dtype=torch.float64)
    layer = InformationDropout(nn.Identity(), nn.Identity(), gate=0.25, alpha_max=0.9)
    rate = elementwise_rates(Bottleneck(layer, nn.Linear(2, 2)).double(), x)["z1"]
    on = math.log(0.9) - layer.alpha(x).log()
    torch.testing.assert_close(rate, torch.where(x > 0, on, -math.log(0.25)))


def test_the_noise_is_the_ambient_generators_and_reaches_only_later_sites(x):
    program = program_of(*LAYERS["log-normal"], x)
    first, second = elementwise_rates(program, x), elementwise_rates(program, x)
    assert torch.equal(first["low"], second["low"])
    assert not torch.equal(first["high"], second["high"])
    with noise_off():
        quiet = [elementwise_rates(program, x)["high"] for _ in range(2)]
    assert torch.equal(*quiet)


def test_it_holds_no_gradient_and_is_not_scaled_by_the_size_of_the_set(x):
    program = program_of(*LAYERS["log-normal"], x)
    whole = elementwise_rates(program, x)["low"]
    program.num_data = 1000
    assert not whole.requires_grad
    assert torch.equal(elementwise_rates(program, x)["low"], whole)


def test_a_network_without_noise_has_no_rates():
    assert elementwise_rates(Bottleneck(nn.Linear(4, 3), nn.Linear(3, 2)), torch.rand(5, 4)) == {}


def test_units_that_depend_on_each_other_have_no_rate_of_their_own():
    layer = InformationDropout.linear(4, 3, activation="softplus", prior=correlated)
    program = Bottleneck(layer, nn.Linear(3, 2)).double()
    with pytest.raises(NotImplementedError, match=r"site 'z1': no closed-form KL .* to MultivariateNormal"):
        elementwise_rates(program, torch.rand(5, 4, dtype=torch.float64))


def test_a_prior_that_does_not_fit_names_the_site():
    layer = GaussianDropout(nn.Identity(), name="hidden")
    layer.prior_distribution = lambda shape: ZeroInflatedLogUniform(1.0).expand(shape).to_event(1)
    with pytest.raises(ValueError, match="site 'hidden': Gaussian noise reaches below zero"):
        elementwise_rates(Bottleneck(layer, nn.Linear(2, 2)), torch.rand(5, 2))


class Code(StochasticLayer):
    """A one-hot vector, whose elements have no law of their own."""

    def posterior(self, x):
        return dist.OneHotCategoricalStraightThrough(logits=self._activation_of(x))

    def prior_distribution(self, event_shape):
        return dist.OneHotCategorical(logits=torch.zeros(event_shape))

    def _as_site(self, posterior):
        return posterior


def test_an_event_that_is_one_unit_has_one_rate():
    program = Bottleneck(Code(nn.Linear(4, 3), activation="identity"), nn.Linear(3, 2))
    x = torch.rand(5, 4)
    rate = elementwise_rates(program, x)["z1"]
    terms = InformationBottleneckELBO().terms(program.model, program.guide, x, torch.zeros(5).long())
    torch.testing.assert_close(rate, terms.rate["z1"].detach())


class _Uncharged(StochasticLayer):
    """A layer of one's own that has no rate, and a prior that would charge one."""

    is_charged = False

    def posterior(self, x):
        return dist.Normal(self.activation_of(x), 0.5)

    def prior_distribution(self, event_shape):
        return dist.Normal(torch.zeros(event_shape), 1.0).to_event(len(event_shape))


def test_a_layer_without_a_rate_has_none():
    program, x = Bottleneck(_Uncharged(nn.Linear(4, CHANNELS)), nn.Linear(CHANNELS, 2)), torch.randn(BATCH, 4)
    terms = InformationBottleneckELBO().terms(program.model, program.guide, x, torch.zeros(BATCH).long())
    assert torch.equal(terms.rate["z1"], torch.zeros(BATCH))
    assert torch.equal(elementwise_rates(program, x)["z1"], torch.zeros(BATCH, CHANNELS))
