"""The rates as formulas: closed forms, quadrature, limits and gradients, in float64."""

import math

import pytest
import torch
from scipy import integrate, stats
from torch.distributions import Normal, kl_divergence

from ib_pyro.rates import (
    HALF_LOG_2PIE,
    LOG_UNIFORM_GAUSSIAN_LOG_C,
    gaussian_log_uniform_rate,
    log_normal_log_normal_rate,
    log_normal_log_uniform_rate,
    log_uniform_log_c,
    noise_scale,
)


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


ALPHA = t(0.001, 0.05, 0.35, 0.7)


class TestNoiseScale:
    def test_runs_from_alpha_min_to_alpha_max(self):
        logits = t(-1e4, 0.0, 1e4)
        assert noise_scale(logits, 0.1, 0.5).tolist() == pytest.approx([0.1, 0.3, 0.5], abs=1e-15)
        assert noise_scale(logits).tolist() == pytest.approx([1e-3, 0.3505, 0.7], abs=1e-15)

    def test_is_the_logistic_function_of_the_branch(self):
        logits = torch.linspace(-5, 5, 11, dtype=torch.float64)
        share = (noise_scale(logits, 0.1, 0.5) - 0.1) / 0.4
        torch.testing.assert_close(share, 1 / (1 + torch.exp(-logits)))

    def test_gradients(self):
        logits = torch.randn(5, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(noise_scale, (logits,))
        assert torch.autograd.gradgradcheck(noise_scale, (logits,))

    def test_bounds_may_be_tensors(self):
        logits, low, high = torch.randn(5, dtype=torch.float64), t(0.1, 0.2), t(0.5, 0.9)
        together = torch.func.vmap(noise_scale, in_dims=(None, 0, 0))(logits, low, high)
        one_by_one = [noise_scale(logits, *pair) for pair in zip(low.tolist(), high.tolist(), strict=True)]
        torch.testing.assert_close(together, torch.stack(one_by_one))

    @pytest.mark.parametrize(("dtype", "unit"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
    def test_half_types_round_three_times_at_most(self, dtype, unit):
        """The share, the smallest scale and the result, each by at most half a unit in the last place."""
        logits = torch.linspace(-8, 8, 500, dtype=dtype)
        alpha = noise_scale(logits)
        assert alpha.dtype == dtype
        exact = noise_scale(logits.double())
        assert ((alpha.double() - exact).abs() <= 3 * unit * exact).all()

    def test_under_automatic_casting(self):
        logits = torch.linspace(-8, 8, 500)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(noise_scale(logits), noise_scale(logits.clone()))
            assert noise_scale(logits).dtype == torch.float32


class TestLogUniformRate:
    def test_is_minus_log_alpha_up_to_the_constant(self):
        """The sign of eq. (7) is misprinted: what is minimised falls as the noise grows."""
        rate = log_normal_log_uniform_rate(ALPHA, 0.0)
        torch.testing.assert_close(rate, -ALPHA.log() - 0.5 * math.log(2 * math.pi * math.e))
        assert (rate.diff() < 0).all()

    def test_is_minus_the_entropy_of_the_log_noise_minus_log_c(self):
        """Proposition 2 as in its appendix, ``KL = -H(log eps) - log c``."""
        entropy = torch.tensor(stats.norm(0, ALPHA.numpy()).entropy())
        torch.testing.assert_close(log_normal_log_uniform_rate(ALPHA, 0.3), -entropy - 0.3)

    def test_default_constant_makes_it_log_of_alpha_max_over_alpha(self):
        rate = log_normal_log_uniform_rate(ALPHA, log_uniform_log_c(0.7))
        torch.testing.assert_close(rate, (0.7 / ALPHA).log())
        assert rate.min() >= -1e-15
        assert log_uniform_log_c(0.7) == pytest.approx(-math.log(0.7) - HALF_LOG_2PIE, abs=1e-15)

    def test_gradient(self):
        alpha, log_c = ALPHA.clone().requires_grad_(), t(0.2).requires_grad_()
        assert torch.autograd.gradcheck(log_normal_log_uniform_rate, (alpha, log_c))


class TestLogNormalRate:
    ARGUMENTS = t(-2.0, 0.0, 1.5), t(0.1, 0.5, 1.2), t(0.5, 0.0, -1.0), t(1.0, 0.5, 2.0)

    def test_is_the_divergence_of_the_logarithms(self):
        loc, alpha, prior_loc, prior_scale = self.ARGUMENTS
        expected = kl_divergence(Normal(loc, alpha), Normal(prior_loc, prior_scale))
        torch.testing.assert_close(log_normal_log_normal_rate(*self.ARGUMENTS), expected)

    def test_holds_the_log_f_that_the_paper_drops(self):
        f, alpha = t(0.2, 1.0, 5.0), t(0.3, 0.3, 0.3)
        rate = log_normal_log_normal_rate(f.log(), alpha, t(0.0), t(1.0))
        printed = 0.5 * (alpha.square() - 1) - alpha.log()
        torch.testing.assert_close(rate - printed, 0.5 * f.log().square())

    def test_a_unit_that_is_off_costs_infinitely_much_without_a_gradient(self):
        loc, alpha = t(-math.inf, 0.3).requires_grad_(), t(0.5, 0.5).requires_grad_()
        prior_loc, prior_scale = t(0.0).requires_grad_(), t(1.0).requires_grad_()
        rate = log_normal_log_normal_rate(loc, alpha, prior_loc, prior_scale)
        assert rate[0] == math.inf
        assert rate[1].isfinite()
        for gradient in torch.autograd.grad(rate.sum(), (loc, alpha, prior_loc, prior_scale)):
            assert gradient.isfinite().all()

    def test_gradients(self):
        arguments = tuple(value.clone().requires_grad_() for value in self.ARGUMENTS)
        assert torch.autograd.gradcheck(log_normal_log_normal_rate, arguments)

    def test_is_zero_where_posterior_and_prior_agree(self):
        assert log_normal_log_normal_rate(t(0.3), t(0.5), t(0.3), t(0.5)).item() == pytest.approx(
            0, abs=1e-15
        )


def exact_gaussian_rate(alpha: float, log_c: float) -> float:
    """``E log|1 + sqrt(alpha) n| - ½ log(2 pi e alpha) - log c`` by quadrature around the singularity."""
    zero = -1 / math.sqrt(alpha)

    def integrand(n: float) -> float:
        return stats.norm.pdf(n) * math.log(abs(1 + math.sqrt(alpha) * n))

    pieces = sorted({-12.0, max(zero, -12.0), 12.0})
    mean_log = sum(
        integrate.quad(integrand, a, b, limit=200)[0] for a, b in zip(pieces, pieces[1:], strict=False)
    )
    return mean_log - HALF_LOG_2PIE - 0.5 * math.log(alpha) - log_c


class TestGaussianRate:
    @pytest.mark.parametrize("alpha", [1e-4, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 1e3])
    def test_molchanovs_fit(self, alpha):
        exact = exact_gaussian_rate(alpha, LOG_UNIFORM_GAUSSIAN_LOG_C)
        assert gaussian_log_uniform_rate(t(alpha)).item() == pytest.approx(exact, abs=8e-3)

    @pytest.mark.parametrize(
        ("alpha", "error"), [(1e-4, 0.036), (0.01, 0.036), (0.1, 5e-3), (0.3, 5e-3), (1.0, 5e-3)]
    )
    def test_kingmas_fit(self, alpha, error):
        exact = exact_gaussian_rate(alpha, LOG_UNIFORM_GAUSSIAN_LOG_C)
        rate = gaussian_log_uniform_rate(t(alpha), approximation="kingma")
        assert rate.item() == pytest.approx(exact, abs=error)

    def test_the_constant_makes_much_noise_free(self):
        assert gaussian_log_uniform_rate(t(1e8)).item() == pytest.approx(0, abs=1e-4)
        assert exact_gaussian_rate(1e6, LOG_UNIFORM_GAUSSIAN_LOG_C) == pytest.approx(0, abs=2e-3)

    @pytest.mark.parametrize("approximation", ["kingma", "molchanov"])
    def test_log_c_is_subtracted(self, approximation):
        alpha = t(0.1, 0.9)
        shifted = gaussian_log_uniform_rate(alpha, approximation=approximation, log_c=0.0)
        expected = gaussian_log_uniform_rate(alpha, approximation=approximation) + LOG_UNIFORM_GAUSSIAN_LOG_C
        torch.testing.assert_close(shifted, expected)

    @pytest.mark.parametrize("approximation", ["kingma", "molchanov"])
    def test_falls_as_the_noise_grows(self, approximation):
        alpha = torch.linspace(0.01, 1.0, 50, dtype=torch.float64)
        assert (gaussian_log_uniform_rate(alpha, approximation=approximation).diff() < 0).all()

    @pytest.mark.parametrize("approximation", ["kingma", "molchanov"])
    def test_gradient(self, approximation):
        alpha = t(0.05, 0.5, 0.95).requires_grad_()
        assert torch.autograd.gradcheck(
            lambda a: gaussian_log_uniform_rate(a, approximation=approximation), (alpha,)
        )

    def test_an_unknown_approximation(self):
        with pytest.raises(ValueError, match="'cubic' is unknown; choose 'molchanov' or 'kingma'"):
            gaussian_log_uniform_rate(ALPHA, approximation="cubic")
