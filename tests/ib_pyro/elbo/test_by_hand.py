"""The Lagrangian of the paper's networks, written out in PyTorch under the same noise."""

import math

import pytest
import torch
from torch.nn import functional as F

from ib_pyro import InformationBottleneckELBO, noise_off


def linear(x, layer):
    return x @ layer.weight.T + layer.bias


def network(program):
    model = program.model.program
    return [*model.stochastic_layers.values(), model.decoder]


def alpha_of(layer, x):
    return 1e-3 + (0.7 - 1e-3) * torch.sigmoid(linear(x, layer.noise))


@pytest.mark.parametrize("beta", [0.0, 0.1, 3.0])
def test_classification_bottleneck_with_relu(build, beta):
    """``CE + beta * sum log(alpha_max / alpha)`` over the units that are on."""
    program = build("information", batch_norm=False)
    *layers, decoder = network(program)
    x, y = program.args
    torch.manual_seed(1)
    h, rate = x, 0.0
    for layer in layers:
        f, alpha = F.relu(linear(h, layer.features)), alpha_of(layer, h)
        rate = rate + torch.where(f > 0, (0.7 / alpha).log(), 0.0).sum()
        h = f * (alpha * torch.randn_like(alpha)).exp()
    by_hand = F.cross_entropy(linear(h, decoder), y, reduction="sum") + beta * rate
    torch.manual_seed(1)
    torch.testing.assert_close(InformationBottleneckELBO(beta)(*program.call[:2])(x, y), by_hand)


@pytest.mark.parametrize("unit_mean", [False, True])
@pytest.mark.parametrize("beta", [0.0, 0.1, 3.0])
def test_classification_bottleneck_with_softplus(build, beta, unit_mean):
    """``CE + beta * sum [(alpha² + (log f + m - mu)²) / (2 sigma²) - log(alpha / sigma) - ½]``."""
    program = build(
        "information", batch_norm=False, activation="softplus", prior="log-normal", unit_mean=unit_mean
    )
    *layers, decoder = network(program)
    x, y = program.args
    torch.manual_seed(1)
    h, rate = x, 0.0
    for mu, layer in zip((0.4, -0.2), layers, strict=True):
        torch.nn.init.constant_(layer.prior_loc, mu)
        torch.nn.init.constant_(layer.prior_log_scale, mu / 2)
        f, alpha = F.softplus(linear(h, layer.features)), alpha_of(layer, h)
        m = -(alpha**2) / 2 if unit_mean else 0.0
        sigma = math.exp(mu / 2)
        rate = (
            rate + ((alpha**2 + (f.log() + m - mu) ** 2) / (2 * sigma**2) - (alpha / sigma).log() - 0.5).sum()
        )
        h = f * (m + alpha * torch.randn_like(alpha)).exp()
    by_hand = F.cross_entropy(linear(h, decoder), y, reduction="sum") + beta * rate
    torch.manual_seed(1)
    torch.testing.assert_close(InformationBottleneckELBO(beta)(*program.call[:2])(x, y), by_hand)


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_binary_dropout(build, beta):
    """Whatever beta, the network under ``z = f * mask / (1 - p)`` and cross-entropy."""
    program = build("binary", batch_norm=False, drop_prob=0.3)
    *layers, decoder = network(program)
    x, y = program.args
    torch.manual_seed(1)
    h = x
    for layer in layers:
        f = F.relu(linear(h, layer.features))
        h = f * torch.bernoulli(torch.full_like(f, 0.7)) / 0.7
    by_hand = F.cross_entropy(linear(h, decoder), y, reduction="sum")
    torch.manual_seed(1)
    torch.testing.assert_close(InformationBottleneckELBO(beta)(*program.call[:2])(x, y), by_hand)


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_constant_noise(build, beta):
    """Figure 3a's baseline: the rate is zero, and beta changes nothing."""
    program = build("constant", batch_norm=False, alpha=0.5)
    *layers, decoder = network(program)
    x, y = program.args
    torch.manual_seed(1)
    h = x
    for layer in layers:
        f = F.relu(linear(h, layer.features))
        h = f * (0.5 * torch.randn_like(f)).exp()
    by_hand = F.cross_entropy(linear(h, decoder), y, reduction="sum")
    torch.manual_seed(1)
    torch.testing.assert_close(InformationBottleneckELBO(beta)(*program.call[:2])(x, y), by_hand)


@pytest.mark.parametrize("dropout", ["information", "binary", "gaussian", "constant", "none"])
def test_without_noise_and_rate_it_is_cross_entropy(build, dropout):
    program = build(dropout, batch_norm=False)
    *layers, decoder = network(program)
    x, y = program.args
    h = program.model.program.encoder(x) if dropout == "none" else x
    for layer in layers:
        h = F.relu(linear(h, layer.features))
    with noise_off():
        loss = InformationBottleneckELBO(0.0)(*program.call[:2])(x, y)
    torch.testing.assert_close(loss, F.cross_entropy(linear(h, decoder), y, reduction="sum"))
