"""Cross-entropy, both classification bottlenecks, dropout and constant noise, each against the formula by hand."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ib_pyro import InformationBottleneckELBO, noise_off
from models.mlp import MLP
from models.objectives import cross_entropy

SHAPE, HIDDEN, CLASSES = (1, 2, 3), 5, 4
X = torch.randn(8, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
Y = torch.randint(CLASSES, (8,), generator=torch.Generator().manual_seed(2))


def program(dropout, **options):
    torch.manual_seed(0)
    options = {"batch_norm": False, **options}
    return MLP(HIDDEN, dropout, SHAPE, num_classes=CLASSES, **options).double()


def terms_of(network, elbo, seed=3):
    torch.manual_seed(seed)
    return elbo.terms(network.model, network.guide, X, Y)


def layers(network):
    return network.stochastic_layers.values()


def information_by_hand(network, activation, rate, *, unit_mean=False):
    """Logits and summed rate of the same network in plain PyTorch, under the same noise."""
    torch.manual_seed(3)
    z, total = X.flatten(1), 0.0
    for layer in layers(network):
        alpha = 1e-3 + (0.7 - 1e-3) * torch.sigmoid(layer.noise(z))
        f = activation(layer.features(z))
        log_eps = alpha * torch.randn_like(f) - (0.5 * alpha**2 if unit_mean else 0.0)
        total = total + rate(f, alpha, layer).sum()
        z = f * log_eps.exp()
    return network.decoder(z), total


def log_uniform(gate):
    def rate(f, alpha, layer):
        return torch.where(f > 0, (0.7 / alpha).log(), -math.log(gate))

    return rate


def log_normal(f, alpha, layer, shift=0.0):
    mu, sigma = layer.prior_loc, layer.prior_log_scale.exp()
    return (alpha**2 + (f.log() + shift - mu) ** 2) / (2 * sigma**2) - (alpha / sigma).log() - 0.5


@pytest.mark.parametrize("dropout", ["information", "gaussian", "binary", "constant", "none"])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_beta_zero_is_the_cross_entropy_of_the_noisy_network(dropout, batch_norm):
    network = program(dropout, batch_norm=batch_norm)
    loss = terms_of(network, cross_entropy()).loss
    torch.manual_seed(3)
    (likelihood,) = network.predictive(X, 1)
    torch.testing.assert_close(
        loss, F.cross_entropy(likelihood.logits, Y, reduction="sum"), rtol=1e-13, atol=0
    )


def test_beta_zero_is_cross_entropy_even_where_the_rate_is_infinite():
    network = program("information", gate=0.0)
    with pytest.raises(ValueError, match="site 'z1': its rate is infinite"):
        terms_of(network, InformationBottleneckELBO(beta=0.1))
    assert torch.isfinite(terms_of(network, cross_entropy()).loss)


@pytest.mark.parametrize("beta", [1.0, 0.03])
@pytest.mark.parametrize("gate", [1.0, 0.25])
def test_relu_bottleneck_is_cross_entropy_plus_the_log_noise(beta, gate):
    network = program("information", gate=gate)
    loss = terms_of(network, InformationBottleneckELBO(beta=beta)).loss
    logits, rate = information_by_hand(network, F.relu, log_uniform(gate))
    expected = F.cross_entropy(logits, Y, reduction="sum") + beta * rate
    torch.testing.assert_close(loss, expected)
    parameters = list(network.parameters())
    for gradient, other in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(gradient, other)


def test_ignoring_the_atom_charges_units_that_are_off_too():
    network = program("information", atom="ignore")
    loss = terms_of(network, InformationBottleneckELBO(beta=0.5)).loss
    logits, rate = information_by_hand(network, F.relu, lambda f, alpha, layer: (0.7 / alpha).log())
    torch.testing.assert_close(loss, F.cross_entropy(logits, Y, reduction="sum") + 0.5 * rate)


@pytest.mark.parametrize("beta", [1.0, 0.03])
@pytest.mark.parametrize("unit_mean", [False, True])
def test_softplus_bottleneck_is_cross_entropy_plus_the_corrected_equation_6(beta, unit_mean):
    network = program("information", activation="softplus", unit_mean=unit_mean)
    with torch.no_grad():
        for position, layer in enumerate(layers(network)):
            layer.prior_loc.fill_(0.3 * position - 0.5)
            layer.prior_log_scale.fill_(0.2 * position)

    def rate(f, alpha, layer):
        return log_normal(f, alpha, layer, -0.5 * alpha**2 if unit_mean else 0.0)

    loss = terms_of(network, InformationBottleneckELBO(beta=beta)).loss
    logits, total = information_by_hand(network, F.softplus, rate, unit_mean=unit_mean)
    expected = F.cross_entropy(logits, Y, reduction="sum") + beta * total
    torch.testing.assert_close(loss, expected)
    parameters = list(network.parameters())
    for gradient, other in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(gradient, other)


@pytest.mark.parametrize("beta", [0.0, 1.0, 7.0])
@pytest.mark.parametrize("drop_prob", [0.5, 0.2])
def test_binary_dropout_is_a_dropout_network_under_the_same_mask(beta, drop_prob):
    network = program("binary", drop_prob=drop_prob)
    terms = terms_of(network, InformationBottleneckELBO(beta=beta))
    torch.manual_seed(3)
    modules = [nn.Flatten()]
    for layer in layers(network):
        modules += [layer.features, nn.ReLU(), nn.Dropout(drop_prob)]
    by_torch = nn.Sequential(*modules, network.decoder).train()
    torch.testing.assert_close(
        terms.loss, F.cross_entropy(by_torch(X), Y, reduction="sum"), rtol=1e-13, atol=0
    )
    # The regulariser is constant, so nothing is charged whatever beta is.
    assert all((rate == 0).all() for rate in terms.rate.values())


def test_noise_off_is_the_dropout_network_in_eval_mode():
    network = program("binary")
    modules = [nn.Flatten()]
    for layer in layers(network):
        modules += [layer.features, nn.ReLU(), nn.Dropout(0.5)]
    expected = nn.Sequential(*modules, network.decoder).eval()(X)
    with noise_off():
        torch.testing.assert_close(network.decoder(network.encoder(X)), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("beta", [0.0, 1.0, 7.0])
def test_constant_noise_has_a_rate_that_no_parameter_moves(beta):
    network = program("constant", alpha=0.4)
    terms = terms_of(network, InformationBottleneckELBO(beta=beta))
    torch.manual_seed(3)
    z = X.flatten(1)
    for layer in layers(network):
        f = F.relu(layer.features(z))
        z = f * (0.4 * torch.randn_like(f)).exp()
    expected = F.cross_entropy(network.decoder(z), Y, reduction="sum")
    torch.testing.assert_close(terms.loss, expected)
    for rate in terms.rate.values():
        torch.testing.assert_close(rate, torch.zeros_like(rate))
        assert not rate.requires_grad
