"""Trained programs never go below the oracles' Lagrangian, and come within two per cent of it."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.nn import InformationDropout
from ib_pyro.oracle import discrete_ib, gaussian_ib
from models.discrete_ib import DiscreteBottleneck
from models.gaussian_ib import GaussianBottleneck

CRITICAL = (0.8, 0.5, 0.1)
# On both sides of each phase transition, and far from them.
BETAS = [0.02, 0.09, 0.11, 0.3, 0.48, 0.52, 0.79, 0.81, 1.5]
DIM_X, DIM_Y, ROWS = 4, 3, 40


def covariances():
    """Of x and y with squared canonical correlations CRITICAL, in random coordinates; and their mixing matrices."""
    generator = torch.Generator().manual_seed(0)
    mix_x, mix_y = (
        torch.eye(d, dtype=torch.float64) + 0.3 * torch.randn(d, d, generator=generator, dtype=torch.float64)
        for d in (DIM_X, DIM_Y)
    )
    cross = torch.zeros(DIM_X, DIM_Y, dtype=torch.float64)
    cross.diagonal()[:] = torch.tensor(CRITICAL, dtype=torch.float64).sqrt()
    return mix_x, mix_y, cross


def exact_sample():
    """Rows of x, y and standard noise whose second moments are exactly those of the joint distribution.

    The linear-Gaussian Lagrangian is quadratic in them, so its mean over these rows is its expectation.
    """
    mix_x, mix_y, cross = covariances()
    units = DIM_X + DIM_Y + min(DIM_X, DIM_Y)
    rows = torch.randn(ROWS, units, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    rows, _ = torch.linalg.qr(rows - rows.mean(0))
    rows = rows * ROWS**0.5
    x, rest, noise = rows.split([DIM_X, DIM_Y, min(DIM_X, DIM_Y)], 1)
    residual = (1 - cross.diagonal().square()).sqrt()
    return x @ mix_x.mT, (x @ cross + rest * residual) @ mix_y.mT, noise


def gaussian_oracle(beta):
    mix_x, mix_y, cross = covariances()
    return gaussian_ib(mix_x @ mix_x.mT, mix_y @ mix_y.mT, mix_x @ cross @ mix_y.mT, beta)


def entropy_of_y():
    _, mix_y, _ = covariances()
    return 0.5 * DIM_Y * math.log(2 * math.pi * math.e) + 0.5 * torch.logdet(mix_y @ mix_y.mT).item()


def gaussian_lagrangian(program, beta, fixed_noise):
    """Exact variational Lagrangian less h(y), and its terms, in nats per sample."""
    x, y, noise = exact_sample()
    with fixed_noise(z1=noise):
        terms = InformationBottleneckELBO(beta).terms(program.model, program.guide, x, y)
    return terms.loss / ROWS - entropy_of_y(), terms


@pytest.mark.parametrize("beta", BETAS)
def test_gaussian_program_attains_the_oracle_over_the_whole_curve(beta, fixed_noise):
    torch.manual_seed(0)
    program = GaussianBottleneck(DIM_X, DIM_Y).double()
    optimizer = torch.optim.LBFGS(
        program.parameters(),
        max_iter=120,
        history_size=30,
        tolerance_grad=1e-7,
        tolerance_change=1e-11,
        line_search_fn="strong_wolfe",
    )
    history = []

    def closure():
        optimizer.zero_grad()
        loss, _ = gaussian_lagrangian(program, beta, fixed_noise)
        loss.backward()
        history.append(loss.item())
        return loss

    optimizer.step(closure)
    optimum = gaussian_oracle(beta)
    exact = optimum.lagrangian.item()
    # No Monte Carlo here: every value on the way is a variational Lagrangian, exact up to rounding.
    assert min(history) > exact - 1e-10
    assert history[-1] - exact < 0.02 * abs(exact) + 1e-5
    _, terms = gaussian_lagrangian(program, beta, fixed_noise)
    rate, distortion = terms.rate["z1"].mean().item(), terms.distortion.mean().item()
    assert rate > optimum.i_xz.item() - 0.1
    assert entropy_of_y() - distortion < optimum.i_zy.item() + 0.01


def test_gaussian_noise_drawn_afresh_leads_there_too(fixed_noise):
    torch.manual_seed(0)
    beta = 0.3
    program = GaussianBottleneck(DIM_X, DIM_Y).double()
    x, y, _ = exact_sample()
    x, y = x.repeat(10, 1), y.repeat(10, 1)
    elbo = InformationBottleneckELBO(beta)
    steps = 1500
    optimizer = torch.optim.Adam(program.parameters(), 0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = elbo.differentiable_loss(program.model, program.guide, x, y) / len(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    exact = gaussian_oracle(beta).lagrangian.item()
    loss, _ = gaussian_lagrangian(program, beta, fixed_noise)
    assert exact - 1e-10 < loss.item() < exact + 0.02 * abs(exact)


COUNTS = torch.tensor([[12, 2, 1], [10, 4, 2], [2, 11, 1], [1, 8, 4], [1, 1, 14], [6, 5, 5]])


def discrete_data():
    """A set in which each pair occurs as often as its probability says, so that batches have no sampling error."""
    pairs = torch.cartesian_prod(torch.arange(COUNTS.shape[0]), torch.arange(COUNTS.shape[1]))
    x, y = pairs.repeat_interleave(COUNTS.flatten(), 0).T
    return x, y, COUNTS.double() / COUNTS.sum()


def label_entropy(p_xy):
    return torch.special.entr(p_xy.sum(0)).sum().item()


@torch.no_grad()
def discrete_lagrangian(program, beta):
    """Exact variational Lagrangian less H(y), by summing over x, y and z."""
    _, _, p_xy = discrete_data()
    (layer,) = program.stochastic_layers.values()
    log_z = F.log_softmax(layer.features.weight, -1)
    log_q = F.log_softmax(layer.prior_logits, -1)
    log_y = F.log_softmax(program.decoder.logits, -1)
    distortion = -(p_xy * (log_z.exp() @ log_y)).sum()
    rate = p_xy.sum(1) @ (log_z.exp() * (log_z - log_q)).sum(-1)
    return (distortion + beta * rate).item() - label_entropy(p_xy)


@pytest.mark.parametrize("beta", [0.05, 0.2, 0.35, 0.9])
def test_discrete_program_approaches_tishbys_iterations_from_above(beta):
    torch.manual_seed(0)
    x, y, p_xy = discrete_data()
    program = DiscreteBottleneck(*COUNTS.shape).double()
    elbo = InformationBottleneckELBO(beta)
    steps = 600
    optimizer = torch.optim.Adam(program.parameters(), 0.15)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    lowest = math.inf
    exact = discrete_ib(p_xy, beta, COUNTS.shape[0]).lagrangian.item()
    for step in range(steps):
        loss = elbo.differentiable_loss(program.model, program.guide, x, y) / len(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 10 == 9:
            lowest = min(lowest, discrete_lagrangian(program, beta))
    final = discrete_lagrangian(program, beta)
    assert lowest > exact - 1e-9
    assert final - exact < 0.02 * abs(exact) + 1e-3


def test_discrete_gradient_is_that_of_the_enumerated_lagrangian():
    """Straight-through draws carry the exact gradient of p(z|x), since the log-likelihood is linear in z."""
    torch.manual_seed(0)
    x, y, p_xy = discrete_data()
    program = DiscreteBottleneck(*COUNTS.shape).double()
    nn.init.normal_(program.decoder.logits)
    (layer,) = program.stochastic_layers.values()
    loss = InformationBottleneckELBO(0.3).differentiable_loss(program.model, program.guide, x, y) / len(x)
    (sampled,) = torch.autograd.grad(loss, layer.features.weight)
    log_z = F.log_softmax(layer.features.weight, -1)
    log_y = F.log_softmax(program.decoder.logits, -1)
    rate = p_xy.sum(1) @ (log_z.exp() * (log_z - F.log_softmax(layer.prior_logits, -1))).sum(-1)
    enumerated = -(p_xy * (log_z.exp() @ log_y)).sum() + 0.3 * rate
    (exact,) = torch.autograd.grad(enumerated, layer.features.weight)
    torch.testing.assert_close(sampled, exact)


@pytest.mark.parametrize("beta", [0.05, 0.15])
def test_information_dropout_on_discrete_data_stays_above_the_oracle(beta):
    """A continuous z is one of the representations that the oracle minimises over; its prior must be proper."""
    torch.manual_seed(0)
    x, y, p_xy = discrete_data()
    layer = InformationDropout(
        nn.Embedding(6, 3), nn.Embedding(6, 3), "softplus", "log-normal", alpha_max=2.0, event_dim=1
    )
    program = Bottleneck(layer, nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))).double()
    elbo = InformationBottleneckELBO(beta)
    optimizer = torch.optim.Adam(program.parameters(), 0.03)
    for _ in range(200):
        loss = elbo.differentiable_loss(program.model, program.guide, x, y) / len(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        values = torch.stack(
            [elbo.differentiable_loss(program.model, program.guide, x, y) / len(x) for _ in range(200)]
        )
    lagrangian, error = values.mean().item() - label_entropy(p_xy), values.std().item() / 200**0.5
    exact = discrete_ib(p_xy, beta, 6).lagrangian.item()
    assert lagrangian > exact - 3 * error
    # It learned something: better than saying nothing, which has Lagrangian 0.
    assert lagrangian < 0.3 * exact
