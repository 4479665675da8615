"""Noise on activations at beta = 1/N and a global posterior over weights are one objective, Kingma's eq. (1)."""

import math

import pyro
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ib_pyro import InformationBottleneckELBO
from ib_pyro.rates import gaussian_log_uniform_rate
from models.objectives import variational_dropout
from models.variational_dropout import VariationalDropout, WeightDropout

N, INPUTS, UNITS, CLASSES = 12, 3, 5, 4


def networks(outputs=CLASSES):
    torch.manual_seed(0)
    features = nn.Sequential(nn.Linear(INPUTS, UNITS), nn.Softplus()).double()
    return features, nn.Linear(UNITS, outputs).double()


def data(outputs=CLASSES, size=N):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(size, INPUTS, dtype=torch.float64, generator=generator)
    if outputs == 1:
        return x, torch.randn(size, 1, dtype=torch.float64, generator=generator)
    return x, torch.randint(outputs, (size,), generator=generator)


def both(outputs=CLASSES, *, correlated=True, alpha=0.3):
    features, linear = networks(outputs)
    likelihood = "normal" if outputs == 1 else "categorical"
    on_activations = VariationalDropout(features, linear, likelihood, num_data=N, alpha=alpha).double()
    on_weights = WeightDropout(
        features, linear, likelihood, num_data=N, alpha=alpha, correlated=correlated
    ).double()
    return on_activations, on_weights


@pytest.mark.parametrize("size", [N, 4])
def test_same_noise_for_all_samples_gives_equal_elbos(fixed_noise, size):
    on_activations, on_weights = both()
    x, y = data(size=size)
    noise = torch.randn(UNITS, dtype=torch.float64)
    with fixed_noise(z1=noise, s=noise):
        first = variational_dropout(N).terms(on_activations.model, on_activations.guide, x, y)
        second = InformationBottleneckELBO(beta=1.0).terms(on_weights.model, on_weights.guide, x, y)
    torch.testing.assert_close(first.loss, second.loss, rtol=1e-13, atol=0)
    torch.testing.assert_close(first.distortion, second.distortion, rtol=1e-13, atol=0)
    # A sample's rate is the rate of all the weights, which the plate counts N times and beta divides by N.
    torch.testing.assert_close(first.rate["z1"], second.rate["s"].expand(size), rtol=1e-13, atol=0)


def test_same_noise_gives_equal_gradients(fixed_noise):
    on_activations, on_weights = both()
    x, y = data()
    noise = torch.randn(UNITS, dtype=torch.float64)
    with fixed_noise(z1=noise, s=noise):
        first = variational_dropout(N).differentiable_loss(on_activations.model, on_activations.guide, x, y)
        second = InformationBottleneckELBO().differentiable_loss(on_weights.model, on_weights.guide, x, y)
    (layer,) = on_activations.stochastic_layers.values()
    shared = [*on_weights.features.parameters(), *on_weights.linear.parameters()]
    gradients = torch.autograd.grad(first, [*shared, layer.raw_alpha])
    others = torch.autograd.grad(second, [*shared, on_weights.raw_alpha])
    for gradient, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(gradient, other)


def test_with_one_output_independent_weights_are_the_same_program_too(fixed_noise):
    on_activations, on_weights = both(outputs=1, correlated=False)
    x, y = data(outputs=1)
    noise = torch.randn(UNITS, dtype=torch.float64)
    # A weight's noise is alpha^½ |theta| n: the sign of theta makes it theta (1 + alpha^½ n).
    signed = noise * on_weights.linear.weight[0].sign()
    with fixed_noise(z1=noise, w=signed.unsqueeze(-1)):
        first = variational_dropout(N).terms(on_activations.model, on_activations.guide, x, y)
        second = InformationBottleneckELBO().terms(on_weights.model, on_weights.guide, x, y)
    torch.testing.assert_close(first.loss, second.loss, rtol=1e-13, atol=0)
    torch.testing.assert_close(first.rate["z1"], second.rate["w"].expand(N), rtol=1e-13, atol=0)


def test_with_many_outputs_independent_weights_pay_for_each():
    on_activations, on_weights = both(correlated=False)
    x, y = data()
    first = variational_dropout(N).terms(on_activations.model, on_activations.guide, x, y)
    second = InformationBottleneckELBO().terms(on_weights.model, on_weights.guide, x, y)
    torch.testing.assert_close(second.rate["w"], CLASSES * first.rate["z1"][0])


def test_independent_noise_has_the_same_expectation_and_less_variance():
    on_activations, on_weights = both(alpha=0.9)
    x, y = data()
    with torch.no_grad():
        first, second = (
            torch.stack([elbo.differentiable_loss(program.model, program.guide, x, y) for _ in range(300)])
            for elbo, program in (
                (variational_dropout(N), on_activations),
                (InformationBottleneckELBO(), on_weights),
            )
        )
    error = ((first.var() + second.var()) / 300).sqrt()
    assert (first.mean() - second.mean()).abs() < 4 * error
    assert error < 0.03 * first.mean()
    assert first.std() < 0.7 * second.std()


def by_hand(features, linear, alpha, xi, x, y):
    """Eq. (1) of Kingma et al. 2015: expected log-likelihood less the divergence of all the weights, negated."""
    c1, c2, c3 = 1.16145124, -1.50204118, 0.58629921
    constant = 0.5 * (0.5772156649015329 + math.log(2)) + 0.035
    divergence = UNITS * (-0.5 * alpha.log() - c1 * alpha - c2 * alpha**2 - c3 * alpha**3 + constant)
    logits = (features(x) * xi) @ linear.weight.T + linear.bias
    return F.cross_entropy(logits, y, reduction="sum") * N / len(x) + divergence


@pytest.mark.parametrize("size", [N, 4])
def test_both_are_equation_1_of_kingma_by_hand(fixed_noise, size):
    on_activations, on_weights = both()
    x, y = data(size=size)
    noise = torch.randn(size, UNITS, dtype=torch.float64)
    alpha = on_weights.alpha
    for program, elbo, draws in (
        (on_activations, variational_dropout(N), {"z1": noise}),
        (on_weights, InformationBottleneckELBO(), {"s": noise[0]}),
    ):
        xi = 1 + alpha.sqrt() * next(iter(draws.values()))
        with fixed_noise(**draws):
            loss = elbo.differentiable_loss(program.model, program.guide, x, y)
        expected = by_hand(on_weights.features, on_weights.linear, alpha, xi, x, y)
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_an_input_of_exactly_zero_is_not_charged():
    features, linear = networks()
    dead = nn.Sequential(features, nn.Threshold(math.inf, 0.0))
    program = VariationalDropout(dead, linear, num_data=N, alpha=0.3).double()
    x, y = data()
    assert (variational_dropout(N).terms(program.model, program.guide, x, y).rate["z1"] == 0).all()
    charged = VariationalDropout(features, linear, num_data=N, alpha=0.3).double()
    rate = variational_dropout(N).terms(charged.model, charged.guide, x, y).rate["z1"]
    alpha = torch.tensor(0.3).logit().sigmoid().double()
    torch.testing.assert_close(
        rate, UNITS * gaussian_log_uniform_rate(alpha, approximation="kingma").expand(N), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("correlated", [True, False])
def test_svi_trains_the_weights(correlated):
    _, program = both(correlated=correlated)
    x, y = data()
    svi = pyro.infer.SVI(
        program.model, program.guide, pyro.optim.Adam({"lr": 0.05}), InformationBottleneckELBO()
    )
    before = program.linear.weight.detach().clone(), program.alpha.item()
    losses = [svi.step(x, y) for _ in range(30)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert not torch.equal(program.linear.weight, before[0])
    assert program.alpha.item() != before[1]


def test_no_data_is_refused():
    with pytest.raises(ValueError, match="num_data must be at least 1; got 0"):
        variational_dropout(0)
