"""Attacks: where theory says the perturbation must go, how far, and through noise."""

from functools import partial

import pytest
import torch
from torch import nn

from ib_pyro.diagnostics import fgsm, gaussian_noise, pgd


@pytest.fixture(scope="module")
def data():
    """Two rings in the unit square, which no line separates."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    angle = 2 * torch.pi * torch.rand(200, generator=generator, dtype=torch.float64)
    radius = 0.15 + 0.2 * y + 0.02 * torch.randn(200, generator=generator, dtype=torch.float64)
    x = 0.5 + radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return x.clamp(0, 1), y


@pytest.fixture(scope="module")
def network(data):
    x, y = data
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2)).double()
    optimiser = torch.optim.LBFGS(net.parameters(), max_iter=60)

    def closure():
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(net(x - 0.5), y) + 1e-4 * sum(
            p.square().sum() for p in net.parameters()
        )
        loss.backward()
        return loss

    optimiser.step(closure)
    optimiser.zero_grad()
    return net


@pytest.fixture(scope="module")
def predict(network):
    return lambda x: network(x - 0.5).log_softmax(-1)


def loss_of(predict, x, y):
    with torch.no_grad():
        return nn.functional.nll_loss(predict(x), y, reduction="none")


ATTACKS = [fgsm, pgd, partial(pgd, keep="last", restarts=2), gaussian_noise]


@pytest.mark.parametrize("attack", ATTACKS[:3])
@pytest.mark.parametrize("size", [0.0, 0.03, 0.7])
def test_stays_in_the_ball_and_in_the_range(predict, data, attack, size):
    torch.manual_seed(0)
    x, y = data
    adversarial = attack(predict, x, y, size)
    assert adversarial.shape == x.shape
    assert (adversarial - x).abs().max() <= size + 1e-12
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    assert not adversarial.requires_grad


def test_pgd_does_at_least_what_fgsm_does(predict, data):
    torch.manual_seed(0)
    x, y = data
    for size in (0.02, 0.05, 0.1, 0.3):
        clean, one, many = (
            loss_of(predict, moved, y)
            for moved in (x, fgsm(predict, x, y, size), pgd(predict, x, y, size, restarts=2))
        )
        assert many.mean() >= one.mean() > clean.mean()
        assert (many >= one - 1e-3).double().mean() > 0.9
    # At a radius larger than the gap between the rings one step overshoots; many steps must not.
    assert many.mean() > 1.05 * one.mean()


def test_both_find_the_corner_of_a_linear_problem():
    torch.manual_seed(0)
    w = torch.randn(6, dtype=torch.float64)
    x, y = torch.rand(10, 6, dtype=torch.float64), torch.randint(2, (10,))

    def linear(x):
        score = x @ w
        return torch.stack([-score, score], -1).log_softmax(-1)

    corner = x - 0.1 * (2 * y[:, None] - 1) * w.sign()
    torch.testing.assert_close(fgsm(linear, x, y, 0.1, clip=None), corner)
    torch.testing.assert_close(pgd(linear, x, y, 0.1, clip=None), corner)
    torch.testing.assert_close(pgd(linear, x, y, 0.1, clip=None, keep="last"), corner)
    torch.testing.assert_close(fgsm(linear, x, y, 0.1), corner.clamp(0, 1))


@pytest.mark.parametrize("steps", [5, 20])
def test_pgd_crosses_the_ball_within_its_steps_and_with_some_to_spare(steps):
    size = 0.1
    x, y = torch.full((2000, 1), 0.5, dtype=torch.float64), torch.zeros(2000, dtype=torch.int64)
    path = []

    def downhill(x):
        path.append(x.detach())
        return torch.cat([-x, x], -1).log_softmax(-1)

    found = pgd(downhill, x, y, size, steps=steps, keep="last", generator=torch.Generator().manual_seed(0))
    # Some start next to the far side, twice the radius away.
    assert (x - path[0]).max() > 0.99 * size
    torch.testing.assert_close(found, x + size)
    # The default: half a radius more than the longest way.
    assert steps * (path[1] - path[0]).max().item() == pytest.approx(2.5 * size)


def test_averages_the_gradient_over_the_noise():
    # The weight is 1 + 4n: a single draw has the wrong sign two times in five, the mean of many has not.
    x, y = torch.full((400, 1), 0.5, dtype=torch.float64), torch.zeros(400, dtype=torch.int64)

    def noisy(x, draws=1):
        weight = 1 + 4 * torch.randn(draws, *x.shape, dtype=x.dtype)
        score = 1e-3 * (weight * x)
        return torch.cat([-score, score], -1).log_softmax(-1)

    def share_right(moved):
        return (moved > x).double().mean().item()

    torch.manual_seed(0)
    assert share_right(fgsm(noisy, x, y, 0.1)) == pytest.approx(0.6, abs=0.08)
    assert share_right(fgsm(noisy, x, y, 0.1, samples=200)) > 0.99
    assert share_right(fgsm(partial(noisy, draws=200), x, y, 0.1)) > 0.99
    assert share_right(pgd(noisy, x, y, 0.1, steps=3, samples=200, keep="last")) > 0.99


def test_probabilities_and_log_probabilities_give_the_same_attack(predict, data):
    x, y = data
    torch.testing.assert_close(fgsm(lambda x: predict(x).exp(), x, y, 0.05), fgsm(predict, x, y, 0.05))


def test_parameters_and_inputs_get_no_gradient(network, predict, data):
    x, y = data
    pgd(predict, x, y, 0.05, steps=2)
    assert all(p.grad is None for p in network.parameters())
    assert not x.requires_grad


def test_works_inside_no_grad(predict, data):
    x, y = data
    with torch.no_grad():
        inside = fgsm(predict, x, y, 0.05)
    assert torch.equal(inside, fgsm(predict, x, y, 0.05))


def test_best_is_no_worse_than_last(predict, data):
    x, y = data
    best, last = (
        pgd(predict, x, y, 0.1, step_size=0.15, keep=keep, generator=torch.Generator().manual_seed(1))
        for keep in ("best", "last")
    )
    assert (loss_of(predict, best, y) >= loss_of(predict, last, y)).all()
    assert loss_of(predict, best, y).mean() > loss_of(predict, last, y).mean()


def test_starts_are_random_unless_told(predict, data):
    x, y = data
    seeded = [
        pgd(predict, x, y, 0.05, steps=1, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)
    ]
    assert torch.equal(seeded[0], seeded[1])
    assert not torch.equal(seeded[0], seeded[2])
    one_step = pgd(predict, x, y, 0.05, steps=1, step_size=0.05, random_start=False, keep="last")
    assert torch.equal(one_step, fgsm(predict, x, y, 0.05))


def test_gaussian_noise_has_the_size_and_clips():
    x = torch.full((100, 100), 0.5, dtype=torch.float64)
    noise = gaussian_noise(None, x, None, 0.1, clip=None, generator=torch.Generator().manual_seed(0)) - x
    assert noise.mean().abs() < 0.005
    assert noise.std().item() == pytest.approx(0.1, rel=0.05)
    assert gaussian_noise(None, x, None, 5.0).min() == 0
    assert torch.equal(gaussian_noise(None, x, None, 0.0), x)


@pytest.mark.parametrize("attack", ATTACKS)
def test_refuses_bad_inputs(predict, data, attack):
    x, y = data
    with pytest.raises(ValueError, match="size: -0.1"):
        attack(predict, x, y, -0.1)
    with pytest.raises(ValueError, match="leave clip"):
        attack(predict, x + 1, y, 0.1)
    with pytest.raises(ValueError, match="x: expected"):
        attack(predict, y[:, None], y, 0.1)


@pytest.mark.parametrize("attack", ATTACKS[:3])
def test_refuses_predictors_it_cannot_attack(network, predict, data, attack):
    x, y = data
    with pytest.raises(ValueError, match="log_softmax"):
        attack(network, x, y, 0.1)
    with pytest.raises(ValueError, match="does not depend differentiably"):
        attack(lambda x: predict(x.detach()).detach(), x, y, 0.1)
    with pytest.raises(ValueError, match="labels: values"):
        attack(predict, x, y + 1, 0.1)


@pytest.mark.parametrize("options", [{"steps": 0}, {"restarts": 2, "random_start": False}, {"keep": "first"}])
def test_pgd_refuses_impossible_options(predict, data, options):
    with pytest.raises(ValueError, match="steps, restarts"):
        pgd(predict, *data, 0.1, **options)


def test_refuses_no_samples(predict, data):
    with pytest.raises(ValueError, match="samples: 0"):
        fgsm(predict, *data, 0.1, samples=0)
