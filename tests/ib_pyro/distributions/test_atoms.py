"""The mixed measure at zero: values and gradients where an activation is off, or nearly."""

import math

import pytest
import torch
from torch.distributions import kl_divergence

from ib_pyro.distributions import (
    MultiplicativeBernoulli,
    MultiplicativeLogNormal,
    MultiplicativeNormal,
    ZeroInflatedLogUniform,
)

GATE = 0.25


@pytest.fixture
def activation():
    return torch.tensor([0.0, 0.5, 0.0, 2.0], dtype=torch.float64, requires_grad=True)


@pytest.fixture
def alpha():
    return torch.tensor([0.3, 0.5, 0.7, 0.2], dtype=torch.float64, requires_grad=True)


def prior(**options):
    return ZeroInflatedLogUniform(torch.tensor(GATE, dtype=torch.float64), **options)


def test_posterior_and_prior_are_measured_alike(activation, alpha):
    """On the atom p has mass 1 and q has its gate; off it both have densities."""
    z = torch.tensor([0.0, 0.4, 1.0, 0.0], dtype=torch.float64)
    p = MultiplicativeLogNormal(activation, alpha).log_prob(z)
    assert p[0] == 0
    assert p[1].isfinite()
    assert (p[2:] == -math.inf).all()
    assert prior().log_prob(z)[[0, 3]].tolist() == [math.log(GATE)] * 2


@pytest.mark.parametrize("family", [MultiplicativeLogNormal, MultiplicativeNormal])
def test_gradients_at_the_atom_are_finite(family, activation, alpha):
    d = family(activation, alpha)
    z = d.rsample((50,))
    quantities = [
        z.sum(),
        d.log_prob(z.detach()).sum(),
        d.log_prob(z).sum(),
        d.entropy().sum(),
        d.mean.sum(),
        d.variance.sum(),
        kl_divergence(d, prior(two_sided=family is MultiplicativeNormal)).sum(),
    ]
    for quantity in quantities:
        assert quantity.isfinite()
        gradients = torch.autograd.grad(quantity, (activation, alpha), retain_graph=True, allow_unused=True)
        assert all(g is None or g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("family", [MultiplicativeLogNormal, MultiplicativeNormal])
def test_the_rate_of_a_unit_that_is_off_does_not_pull_on_its_noise(family, activation, alpha):
    rate = kl_divergence(family(activation, alpha), prior(two_sided=family is MultiplicativeNormal))
    (gradient,) = torch.autograd.grad(rate.sum(), alpha)
    off = activation == 0
    assert (gradient[off] == 0).all()
    assert (gradient[~off] < 0).all()
    torch.testing.assert_close(rate[off], torch.full_like(rate[off], -math.log(GATE)))


def test_an_activation_that_is_off_still_learns_from_its_draws(activation, alpha):
    """dz/df = eps, also at f = 0."""
    z = MultiplicativeLogNormal(activation, alpha).rsample()
    (gradient,) = torch.autograd.grad(z.sum(), activation)
    assert (gradient > 0).all()


@pytest.mark.parametrize("gate", [0.0, 1.0])
@pytest.mark.parametrize("bounds", [{}, {"low": 0.1, "high": 3.0}])
def test_a_gate_at_its_bounds_has_no_nan(gate, bounds):
    gate = torch.tensor([gate], dtype=torch.float64, requires_grad=True)
    q = ZeroInflatedLogUniform(gate, **bounds)
    score = q.log_prob(torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert not score.isnan().any()
    (gradient,) = torch.autograd.grad(score[score.isfinite()].sum(), gate)
    assert not gradient.isnan().any()


def test_every_q0_of_one_makes_a_dead_unit_free():
    p = MultiplicativeLogNormal(torch.zeros(2), 0.5)
    assert kl_divergence(p, ZeroInflatedLogUniform(1.0)).tolist() == [0, 0]
    assert kl_divergence(p, ZeroInflatedLogUniform(0.0)).tolist() == [math.inf, math.inf]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_activations_that_underflow_stay_off_the_atom(dtype):
    """log softplus(h) is h for very negative h: z is tiny, not zero, and its density is finite."""
    log_f = torch.tensor([-5e3, -800.0, -80.0, 0.0], dtype=dtype, requires_grad=True)
    alpha = torch.full_like(log_f, 0.5, requires_grad=True)
    p = MultiplicativeLogNormal.from_log_activation(log_f, alpha)
    z = p.rsample((20,))
    assert not p.is_atom.any()
    assert (z > 0).all()
    score = p.log_prob(z)
    assert score.isfinite().all()
    quantities = score.sum(), z.sum(), p.entropy().sum(), p.loc.sum()
    for quantity in quantities:
        gradients = torch.autograd.grad(quantity, (log_f, alpha), retain_graph=True, allow_unused=True)
        assert all(g is None or g.isfinite().all() for g in gradients)


def test_log_activation_of_minus_infinity_is_the_atom():
    log_f = torch.tensor([-math.inf, 0.0], dtype=torch.float64, requires_grad=True)
    p = MultiplicativeLogNormal.from_log_activation(log_f, torch.full_like(log_f, 0.5))
    assert p.is_atom.tolist() == [True, False]
    assert p.sample()[0] == 0
    assert p.expand((3, 2)).is_atom.tolist() == [[True, False]] * 3
    (gradient,) = torch.autograd.grad(p.log_prob(p.sample()).sum(), log_f)
    assert gradient.isfinite().all()


def test_both_constructors_agree():
    f, alpha = torch.rand(5, dtype=torch.float64) + 0.1, torch.rand(5, dtype=torch.float64) + 0.1
    for unit_mean in (False, True):
        a = MultiplicativeLogNormal(f, alpha, unit_mean=unit_mean)
        b = MultiplicativeLogNormal.from_log_activation(f.log(), alpha, unit_mean=unit_mean)
        z = a.sample((10,))
        torch.testing.assert_close(a.log_prob(z), b.log_prob(z))
        torch.testing.assert_close(a.mean, b.mean)
        torch.testing.assert_close(a.noise_free, b.noise_free)
        with torch.random.fork_rng():
            expected = a.sample((3,))
        torch.testing.assert_close(b.sample((3,)), expected)


def test_median_and_mean_of_the_noise(activation, alpha):
    """Median 1 by default, as in the authors' code; mean 1 when asked for."""
    off = activation == 0
    for unit_mean, statistic in ((False, "median"), (True, "mean")):
        p = MultiplicativeLogNormal(activation, alpha, unit_mean=unit_mean)
        draws = p.sample((200_001,))
        value = draws.median(0).values if statistic == "median" else draws.mean(0)
        torch.testing.assert_close(value[~off], activation[~off].detach(), rtol=6e-3, atol=0)
        torch.testing.assert_close(p.noise_free, activation)
    median = MultiplicativeLogNormal(activation, alpha)
    torch.testing.assert_close(median.mean, activation * (0.5 * alpha.square()).exp())


def test_the_mass_of_an_atom_has_a_slope_where_nothing_is_dropped():
    drop_prob = torch.tensor([0.0, 0.5, 0.25], requires_grad=True)
    law = MultiplicativeBernoulli(torch.tensor(2.0), drop_prob, validate_args=False)
    mass = law.log_prob(torch.tensor([2.0, 4.0, 0.0]))
    (slope,) = torch.autograd.grad(mass.sum(), drop_prob)
    assert torch.allclose(mass, torch.tensor([1.0, 0.5, 0.25]).log())
    assert torch.allclose(slope, torch.tensor([-1.0, -2.0, 4.0]))
