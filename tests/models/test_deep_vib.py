"""Deep VIB is cross-entropy plus beta times the Gaussian rate, with the sizes and the start of its paper."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ib_pyro import InformationBottleneckELBO
from models.deep_vib import DeepVIB
from models.objectives import deep_vib

SHAPE = (1, 2, 3)


def program():
    torch.manual_seed(0)
    return DeepVIB(4, (6, 5), SHAPE, num_classes=3).double()


def batch():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(7, *SHAPE, dtype=torch.float64, generator=generator)
    return x, torch.randint(3, (7,), generator=generator)


@pytest.mark.parametrize("beta", [0.0, 1e-3, 1.0, 5.0])
def test_loss_by_hand(beta, fixed_noise):
    network, (x, y) = program(), batch()
    noise = torch.randn(7, 4, dtype=torch.float64)
    with fixed_noise(z1=noise):
        loss = deep_vib(beta).differentiable_loss(network.model, network.guide, x, y)
    (layer,) = network.stochastic_layers.values()
    h = network.encoder.hidden2(network.encoder.hidden1(x.flatten(1)))
    mean, scale = layer.features(h), F.softplus(layer.noise(h))
    rate = 0.5 * (mean.square() + scale.square() - 1) - scale.log()
    expected = F.cross_entropy(network.decoder(mean + scale * noise), y, reduction="sum") + beta * rate.sum()
    torch.testing.assert_close(loss, expected)
    parameters = list(network.parameters())
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    others = torch.autograd.grad(expected, parameters, allow_unused=True)
    for gradient, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(gradient, other)


def test_sizes_and_small_initial_noise():
    network = DeepVIB()
    (layer,) = network.stochastic_layers.values()
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [
        (784, 1024),
        (1024, 1024),
        (1024, 256),
        (1024, 256),
        (256, 10),
    ]
    scale = layer.posterior(torch.rand(3, 1024)).stddev
    torch.testing.assert_close(scale.median(), F.softplus(torch.tensor(-5.0)), rtol=0.1, atol=0)


def test_rate_grows_as_its_weight_falls():
    network, (x, y) = program(), batch()
    rates = []
    for beta in (1.0, 1e-3):
        optimizer = torch.optim.Adam(network.parameters(), 0.02)
        for _ in range(60):
            terms = InformationBottleneckELBO(beta).terms(network.model, network.guide, x, y)
            optimizer.zero_grad()
            (terms.loss / len(x)).backward()
            optimizer.step()
        rates.append(terms.rate["z1"].mean().item())
    assert rates[1] > 3 * rates[0]


@pytest.mark.parametrize("options", [{"num_latent": 0}, {"hidden": (3, 0)}])
def test_empty_layers_are_refused(options):
    with pytest.raises(ValueError, match=r"widths must be positive; got num_latent=\d+, hidden="):
        DeepVIB(**options)
