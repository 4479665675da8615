"""What an improper log-uniform prior can do, and what it says when it cannot."""

import math

import pyro
import pytest
import torch
from torch.distributions import kl_divergence

from ib_pyro.distributions import MultiplicativeLogNormal, ZeroInflatedLogUniform
from ib_pyro.rates import HALF_LOG_2PIE

IMPROPER = [{}, {"low": 0.1}, {"high": 5.0}, {"two_sided": True}]


@pytest.mark.parametrize("options", IMPROPER)
@pytest.mark.parametrize(
    "ask", [lambda q: q.sample(), lambda q: q.mean, lambda q: q.variance, lambda q: q.entropy()]
)
def test_asking_for_a_law_it_does_not_have_raises_with_advice(options, ask):
    prior = ZeroInflatedLogUniform(0.5, **options)
    with pytest.raises(NotImplementedError, match=r"improper.*FactorizedLogNormal or LogNormal"):
        ask(prior)


def test_a_program_that_samples_it_raises_with_advice():
    with pytest.raises(NotImplementedError, match="finite rate is FactorizedLogNormal"):
        pyro.sample("z", ZeroInflatedLogUniform(0.5).expand([3]).to_event(1))


def test_both_bounds_make_it_proper():
    assert not any(ZeroInflatedLogUniform(0.5, **options).is_proper for options in IMPROPER)
    assert ZeroInflatedLogUniform(0.5, 0.1, 5.0).is_proper
    assert not ZeroInflatedLogUniform(0.5, torch.tensor([0.0, 0.1]), 5.0).is_proper
    assert not ZeroInflatedLogUniform(0.5, 0.1, torch.tensor([math.inf, 5.0])).is_proper
    assert ZeroInflatedLogUniform(0.5, torch.tensor([0.2, 0.1]), torch.tensor([3.0, 5.0])).is_proper


def test_the_constant_of_a_proper_prior_is_not_free():
    with pytest.raises(ValueError, match=r"log_c=0.3 is given.*leave log_c out"):
        ZeroInflatedLogUniform(0.5, 0.1, 5.0, log_c=0.3)


def test_the_default_constant_makes_noise_of_scale_0_7_free():
    prior = ZeroInflatedLogUniform(torch.tensor(0.5, dtype=torch.float64))
    assert prior.log_c.item() == pytest.approx(-math.log(0.7) - HALF_LOG_2PIE, abs=1e-12)
    p = MultiplicativeLogNormal(torch.tensor(2.0, dtype=torch.float64), 0.7)
    assert kl_divergence(p, prior).item() == pytest.approx(0, abs=1e-7)


def test_log_c_is_the_density_at_one():
    prior = ZeroInflatedLogUniform(0.5, log_c=-0.25)
    z = torch.tensor([1.0, 2.0, 0.1])
    torch.testing.assert_close(prior.log_prob(z), -0.25 - z.log())


def test_one_open_bound_still_bounds_the_other_side():
    prior = ZeroInflatedLogUniform(0.5, high=5.0, validate_args=False)
    assert prior.log_prob(torch.tensor([6.0, -1.0])).tolist() == [-math.inf, -math.inf]
    assert ZeroInflatedLogUniform(0.5, low=0.1, validate_args=False).log_prob(torch.tensor(0.05)) == -math.inf


def test_bounds_whose_ratio_overflows():
    """1e-30 to 1e30 spans a ratio that float32 cannot hold."""
    prior = ZeroInflatedLogUniform(torch.tensor(0.0), 1e-30, 1e30)
    assert prior.log_c.item() == pytest.approx(-math.log(60 * math.log(10)), rel=1e-5)
    draws = prior.sample((2000,)).log10()
    assert draws.isfinite().all()
    assert draws.mean().abs() < 2
    assert draws.std().item() == pytest.approx(60 / math.sqrt(12), rel=0.1)
