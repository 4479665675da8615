"""Every registered KL divergence against quadrature and samples, with the prior's constant."""

import math
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.distributions import kl_divergence

from ib_pyro.distributions import (
    FactorizedLogNormal,
    MultiplicativeBernoulli,
    MultiplicativeLogNormal,
    MultiplicativeNormal,
    ZeroInflatedLogUniform,
)

LOC, SCALE = torch.zeros(3), torch.ones(3)


def integrand(p: Any, q: Any, unit: int) -> Callable[[Tensor], Tensor]:
    """``p log(p / q)`` of one unit, 0 where p has no mass."""

    def at(z: Tensor) -> Tensor:
        wide = z[:, None].expand(-1, 3)
        log_p, log_q = p.log_prob(wide)[:, unit], q.log_prob(wide)[:, unit]
        return torch.where(log_p > -math.inf, log_p.exp() * (log_p - log_q), 0.0)

    return at


def mass_at_zero(p: Any) -> Tensor:
    if isinstance(p, ZeroInflatedLogUniform):
        return p.gate
    return getattr(p, "is_atom", torch.zeros(3)).double()


def test_quadrature(measured_pair, integrate):
    zero = torch.zeros(3, dtype=torch.float64)
    p, q = measured_pair.units
    rate, infinite = kl_divergence(p, q), torch.tensor(measured_pair.infinite)
    with pyro.validation_enabled(False):  # quadrature reaches outside of bounded supports
        p, q = measured_pair.units
        mass = mass_at_zero(p)
        expected = torch.where(mass > 0, mass * (mass.log() - q.log_prob(zero)), 0.0)
        for unit in (mass < 1).nonzero().flatten():
            expected[unit] += integrate(
                integrand(p, q, unit), *measured_pair.log_bounds, two_sided=measured_pair.two_sided
            )
    assert (rate[infinite] == math.inf).all()
    torch.testing.assert_close(rate[~infinite], expected[~infinite], rtol=0, atol=measured_pair.tolerance)


def test_samples(measured_pair):
    """The mean of ``log p(z) - log q(z)`` is within five standard errors, including the constant c."""
    with pyro.validation_enabled(False):
        p, q = measured_pair.units
        z = p.sample((20_000,))
        difference = p.log_prob(z) - q.log_prob(z)
    finite = ~torch.tensor(measured_pair.infinite)
    error = 5 * difference.std(0) / math.sqrt(len(z)) + measured_pair.tolerance
    gap = (difference.mean(0) - kl_divergence(p, q)).abs()
    assert (gap <= error)[finite].all()


def test_an_events_divergence_sums_over_its_units(event_pair):
    p, q = event_pair.p(), event_pair.q()
    rate = kl_divergence(p.expand((4,)), q.expand((4,)))
    torch.testing.assert_close(rate, kl_divergence(*event_pair.units).sum().expand(4))


def test_dropout_has_no_finite_rate_whatever_its_parameters():
    """It has an atom at f / (1 - p), where a log-uniform prior has none: constant, hence nothing to learn."""
    f = torch.tensor([0.0, 1.0, -2.0])
    for drop_prob in (0.0, 0.3, 0.9):
        rate = kl_divergence(MultiplicativeBernoulli(f, drop_prob), ZeroInflatedLogUniform(0.25))
        assert rate.tolist() == [pytest.approx(-math.log(0.25)), math.inf, math.inf]


def test_wrappers_on_both_sides_are_seen_through():
    mask = torch.tensor([True, False, True])
    p = MultiplicativeLogNormal(torch.tensor([0.0, 1.0, 2.0]), 0.5)
    q = ZeroInflatedLogUniform(torch.full((3,), 0.25))
    rate = kl_divergence(p, q)
    torch.testing.assert_close(kl_divergence(p.to_event(1), q.to_event(1)), rate.sum())
    torch.testing.assert_close(kl_divergence(p.mask(mask), q.mask(mask)), rate * mask)


NOISE = MultiplicativeLogNormal(torch.ones(3), 0.5)
FACTORIZED, LOG_UNIFORM = FactorizedLogNormal(LOC, SCALE), ZeroInflatedLogUniform(torch.full((3,), 0.5))
TWO_SIDED = ZeroInflatedLogUniform(torch.full((3,), 0.5), two_sided=True)


@pytest.mark.parametrize(
    ("p", "q", "message"),
    [
        (NOISE, FACTORIZED, "to_event"),
        (NOISE.expand((2, 3)).to_event(2), FACTORIZED, "event shapes"),
        (FACTORIZED, FactorizedLogNormal(LOC[:2], SCALE[:2]), "event shapes"),
        (FACTORIZED, ZeroInflatedLogUniform(torch.full((2,), 0.5)).to_event(1), "event shapes"),
        (NOISE, TWO_SIDED, "two-sided"),
        (dist.LogNormal(LOC, SCALE), TWO_SIDED, "two-sided"),
        (LOG_UNIFORM, LOG_UNIFORM, "improper"),
        (NOISE, LOG_UNIFORM.mask(True), None),
        (NOISE.to_event(1), LOG_UNIFORM, None),
    ],
)
def test_pairs_without_a_divergence_say_so(p, q, message):
    with pytest.raises(NotImplementedError, match=message):
        kl_divergence(p, q)


def test_gaussian_noise_against_a_one_sided_prior_says_why():
    with pytest.raises(ValueError, match=r"\+inf.*two_sided=True"):
        kl_divergence(MultiplicativeNormal(torch.ones(3), 0.5), LOG_UNIFORM)
