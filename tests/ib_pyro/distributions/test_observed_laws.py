"""Laws of what is observed: grey values and counts, against integrals, sums and SciPy, and at the ends of their "
"ranges."""

import math

import mpmath
import pytest
import torch
from scipy import integrate, stats

from ib_pyro.distributions.continuous_bernoulli import (
    LogitContinuousBernoulli,
    continuous_bernoulli_log_density,
)
from ib_pyro.distributions.counts import (
    LogMeanNegativeBinomial,
    LogMeanPoisson,
    negative_binomial_log_mass,
    poisson_log_mass,
)
from ib_pyro.distributions.discretized_logistic import DiscretizedLogistic, discretized_logistic_log_mass
from ib_pyro.testing import check_distribution

LOGITS = [0.0, 1e-12, 1e-6, 1e-3, 0.05, 0.3, 0.599, 0.601, 1.0, 3.0, 20.0, 90.0, 1e4]
GREY = [0.0, 0.1, 0.5, 0.9, 1.0]


def t(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


def exact_log_density(logit, y):
    """By the definition with lambda, in 60 digits beside those that lambda needs to differ from 0 and 1."""
    with mpmath.workdps(60 + int(abs(logit))):
        share = 1 / (1 + mpmath.exp(-mpmath.mpf(logit)))
        norm = mpmath.mpf(2)
        if logit:
            norm = 2 * mpmath.atanh(1 - 2 * share) / (1 - 2 * share)
        return float(mpmath.log(norm) + y * mpmath.log(share) + (1 - mpmath.mpf(y)) * mpmath.log(1 - share))


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float64, 2e-15), (torch.float32, 3e-7)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_continuous_bernoulli_is_exact_at_every_logit(dtype, digits, sign):
    for size in LOGITS:
        logit = torch.tensor(sign * size, dtype=dtype)
        found = continuous_bernoulli_log_density(logit, torch.tensor(GREY, dtype=dtype))
        assert found.dtype == dtype
        for value, y in zip(found.tolist(), torch.tensor(GREY, dtype=dtype).tolist(), strict=True):
            expected = exact_log_density(logit.item(), y)
            assert value == pytest.approx(expected, rel=digits, abs=digits)


@pytest.mark.parametrize("logit", [1e-9, 1e-3, 0.2, 0.599, 0.601, 2.0, 40.0])
def test_its_moments_are_exact(logit):
    law, both = LogitContinuousBernoulli(t(logit)), LogitContinuousBernoulli(t(-logit))
    with mpmath.workdps(60):
        half = mpmath.mpf(logit) / 2
        mean = (1 + mpmath.coth(half) - 1 / half) / 2
        variance = (1 / half**2 - 1 / mpmath.sinh(half) ** 2) / 4
    assert law.mean.item() == pytest.approx(float(mean), rel=1e-15, abs=1e-15)
    assert both.mean.item() == pytest.approx(float(1 - mean), rel=1e-14, abs=0.0)
    assert law.variance.item() == both.variance.item() == pytest.approx(float(variance), rel=3e-14, abs=0.0)


@pytest.mark.parametrize("logit", [-0.0099, 1e-9, 0.005, 0.0099, 0.0101, -2.0])
def test_its_quantiles_are_exact(logit):
    for share in (0.0, 0.1, 0.35, 0.5, 0.9, 1.0):
        with mpmath.workdps(60):
            expected = mpmath.log(1 + mpmath.mpf(share) * mpmath.expm1(mpmath.mpf(logit))) / mpmath.mpf(logit)
        assert LogitContinuousBernoulli(t(logit)).icdf(t(share)).item() == pytest.approx(
            float(expected), abs=1e-13
        )


def test_at_one_half_it_is_the_uniform_law():
    logit = t(0.0).requires_grad_()
    density = continuous_bernoulli_log_density(logit, t(0.0, 0.3, 1.0))
    assert density.tolist() == [0.0, 0.0, 0.0]
    gradients = [torch.autograd.grad(density[i], logit, retain_graph=True)[0].item() for i in range(3)]
    assert gradients == pytest.approx([-0.5, -0.2, 0.5])


@pytest.mark.parametrize("logit", [-30.0, -2.0, -0.3, 0.0, 0.01, 0.5, 4.0, 60.0])
def test_its_density_is_one_and_its_moments_are_the_integrals(logit):
    law = LogitContinuousBernoulli(t(logit))

    def integral(function):
        ends = sorted({0.0, 1.0, *(1 - 10**-k for k in range(1, 5)), *(10**-k for k in range(1, 5))})
        return sum(
            integrate.quad(
                lambda y: function(y) * math.exp(law.log_prob(t(y)).item()), low, high, epsabs=1e-12
            )[0]
            for low, high in zip(ends, ends[1:], strict=False)
        )

    mean = integral(lambda y: y)
    assert integral(lambda y: 1.0) == pytest.approx(1, abs=1e-9)
    assert law.mean.item() == pytest.approx(mean, abs=1e-9)
    assert law.variance.item() == pytest.approx(integral(lambda y: (y - mean) ** 2), abs=1e-9)
    assert law.entropy().item() == pytest.approx(integral(lambda y: -law.log_prob(t(y)).item()), abs=1e-8)
    for y in (0.001, 0.2, 0.7, 0.999):
        share = integrate.quad(
            lambda v: math.exp(law.log_prob(t(v)).item()), 0, y, points=[y / 2], epsabs=1e-12
        )[0]
        assert law.cdf(t(y)).item() == pytest.approx(share, abs=1e-8)
    shares = t(0.01, 0.4, 0.99)
    torch.testing.assert_close(law.cdf(law.icdf(shares)), shares)


def test_its_gradients_are_those_of_differences():
    logits = t(*LOGITS[4:11], *(-x for x in LOGITS[4:11])).requires_grad_()
    value = torch.linspace(0.0, 1.0, 14, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: continuous_bernoulli_log_density(x, value), logits)
    assert torch.autograd.gradcheck(lambda x: LogitContinuousBernoulli(x).mean, logits)
    assert torch.autograd.gradcheck(lambda x: LogitContinuousBernoulli(x).icdf(value[2:-2].mean()), logits)


def test_it_is_pytorchs_where_that_is_right():
    logits, value = 3 * torch.randn(500, dtype=torch.float64), torch.rand(500, dtype=torch.float64)
    theirs = torch.distributions.ContinuousBernoulli(logits=logits)
    torch.testing.assert_close(continuous_bernoulli_log_density(logits, value), theirs.log_prob(value))
    torch.testing.assert_close(LogitContinuousBernoulli(logits).mean, theirs.mean)
    # ... and not where the sigmoid of the logit rounds to 1.
    far = torch.tensor(60.0)
    wrong = torch.distributions.ContinuousBernoulli(logits=far).log_prob(torch.tensor(1.0))
    assert LogitContinuousBernoulli(far).log_prob(torch.tensor(1.0)).item() == pytest.approx(
        math.log(60), rel=1e-6
    )
    assert abs(wrong.item() - math.log(60)) > 0.5


LEVELS = torch.arange(256, dtype=torch.float64) / 255


@pytest.mark.parametrize("loc", [-0.5, 0.0, 0.2, 0.5, 1.0, 1.7])
@pytest.mark.parametrize("scale", [1e-3, 0.02, 0.3, 40.0])
def test_the_discretized_logistic_is_exact_at_every_level(loc, scale):
    law = DiscretizedLogistic(t(loc).expand(256), t(scale))
    found = law.log_prob(LEVELS)
    assert found.exp().sum().item() == pytest.approx(1, abs=1e-12)
    with mpmath.workdps(900):
        for k in (0, 1, 50, 128, 254, 255):
            low = (
                mpmath.mpf(0)
                if k == 0
                else 1 / (1 + mpmath.exp(-((k - 0.5) / mpmath.mpf(255) - loc) / scale))
            )
            high = (
                mpmath.mpf(1)
                if k == 255
                else 1 / (1 + mpmath.exp(-((k + 0.5) / mpmath.mpf(255) - loc) / scale))
            )
            expected = float(mpmath.log(high - low))
            # A level is a rounded number itself, which the scale magnifies.
            assert found[k].item() == pytest.approx(expected, rel=1e-11, abs=1e-12 + 2e-16 / scale)
    expected_mean = (found.exp() * LEVELS).sum().item()
    assert law.mean[0].item() == pytest.approx(expected_mean, abs=1e-10)
    torch.testing.assert_close(law.cdf(LEVELS), found.exp().cumsum(0), atol=1e-10, rtol=0)


@pytest.mark.parametrize(("loc", "scale"), [(0.0, 0.01), (0.5, 1e-4), (0.5, 1e-6), (1.0, 10.0)])
def test_in_single_precision_it_keeps_its_digits_at_the_ends(loc, scale):
    """Where both ends of a level round to one number, a difference of sigmoids has none left."""
    single = discretized_logistic_log_mass(torch.tensor(loc), torch.tensor(scale), LEVELS.float())
    exact = discretized_logistic_log_mass(t(loc), torch.tensor(scale).double(), LEVELS)
    assert single.isfinite().all()
    torch.testing.assert_close(single.double(), exact, rtol=2e-4, atol=1e-5)
    for end, level in ((0, -1), (255, 1)):
        place = end / 255 - level * 0.5 / 255
        tail = stats.logistic.logsf(level * (place - loc) / torch.tensor(scale).double().item())
        assert exact[end].item() == pytest.approx(tail, rel=1e-9)


def test_its_gradients_are_finite_and_those_of_differences():
    loc, scale = t(0.1, 0.5, 0.9).requires_grad_(), t(0.2, 0.01, 0.05).requires_grad_()
    for level in (0, 3, 128, 255):
        value = t(level / 255)
        assert torch.autograd.gradcheck(lambda m, s: discretized_logistic_log_mass(m, s, value), (loc, scale))  # noqa: B023
    tiny = torch.full((3,), 1e-6, dtype=torch.float64, requires_grad=True)
    total = discretized_logistic_log_mass(loc, tiny, t(0.0, 1.0, 128 / 255)).sum()
    assert all(g.isfinite().all() for g in torch.autograd.grad(total, (loc, tiny)))


def test_few_levels_and_none():
    law = DiscretizedLogistic(t(0.3), t(0.2), 2)
    assert law.log_prob(t(0.0)).exp() + law.log_prob(t(1.0)).exp() == pytest.approx(1)
    with pytest.raises(ValueError, match="levels must be at least 2; got 1"):
        DiscretizedLogistic(t(0.3), t(0.2), 1)


COUNTS = torch.arange(0, 60, dtype=torch.float64)


@pytest.mark.parametrize("log_mean", [-4.0, -2.0, 0.0, 2.0, 3.5])
def test_counts_are_scipys(log_mean):
    mean = math.exp(log_mean)
    found = poisson_log_mass(t(log_mean), COUNTS)
    torch.testing.assert_close(
        found, torch.from_numpy(stats.poisson.logpmf(COUNTS.numpy(), mean)), rtol=1e-12, atol=1e-12
    )
    for r in (0.05, 1.0, 7.0, 24.9, 25.1, 300.0):
        found = negative_binomial_log_mass(t(log_mean), t(r), COUNTS)
        expected = stats.nbinom.logpmf(COUNTS.numpy(), r, r / (r + mean))
        torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-10, atol=1e-10)
        law = LogMeanNegativeBinomial(t(log_mean), t(r))
        assert law.variance.item() == pytest.approx(mean + mean**2 / r)


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("r", [26.0, 1e3, 1e6, 1e9, 1e15, 1e30])
def test_a_large_dispersion_keeps_its_digits_on_the_way_to_poisson(dtype, digits, r):
    """``lgamma(r + y) - lgamma(r)`` would have lost whole nats in single precision at 1e6, and all at 1e15."""
    log_mean, value = torch.tensor(1.2, dtype=dtype), torch.tensor([0.0, 3.0, 20.0], dtype=dtype)
    found = negative_binomial_log_mass(log_mean, torch.tensor(r, dtype=dtype), value)
    with mpmath.workdps(80):
        size, mean = mpmath.mpf(float(torch.tensor(r, dtype=dtype))), mpmath.exp(mpmath.mpf(log_mean.item()))
        for one, y in zip(found.tolist(), value.tolist(), strict=True):
            ways = mpmath.loggamma(size + y) - mpmath.loggamma(size) - mpmath.loggamma(y + 1)
            exact = ways + size * mpmath.log(size / (size + mean)) + y * mpmath.log(mean / (size + mean))
            assert one == pytest.approx(float(exact), rel=digits, abs=digits)


def test_gradients_of_counts():
    log_mean, r = t(-1.0, 0.5, 2.0).requires_grad_(), t(0.4, 24.0, 40.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: poisson_log_mass(m, t(0.0, 2.0, 9.0)), log_mean)
    assert torch.autograd.gradcheck(
        lambda m, s: negative_binomial_log_mass(m, s, t(0.0, 2.0, 9.0)), (log_mean, r)
    )


LAWS = {
    "continuous Bernoulli": lambda: LogitContinuousBernoulli(t(-4.0, -0.2, 0.0, 1.0, 9.0)),
    "discretized logistic": lambda: DiscretizedLogistic(t(0.1, 0.5, 1.2), t(0.02, 0.1, 0.4), 6),
    "Poisson": lambda: LogMeanPoisson(t(-2.0, 0.0, 2.0)),
    "negative binomial": lambda: LogMeanNegativeBinomial(t(-2.0, 0.0, 2.0), t(0.5, 3.0, 40.0)),
}


@pytest.mark.parametrize("kind", LAWS)
def test_they_keep_the_contract_of_distributions(kind):
    check_distribution(LAWS[kind]())


@pytest.mark.parametrize("kind", LAWS)
def test_their_draws_have_their_moments(kind):
    law = LAWS[kind]()
    draws = law.sample((40000,))
    error = draws.std(0) / 200
    assert ((draws.mean(0) - law.mean).abs() < 4.5 * error).all()
    if kind != "discretized logistic":
        assert (draws.var(0) / law.variance - 1).abs().max() < 0.15
    wide = law.expand((4, *law.batch_shape))
    assert wide.sample().shape == (4, *law.batch_shape)
    torch.testing.assert_close(wide.log_prob(draws[:4]), law.log_prob(draws[:4]))


def test_draws_of_the_continuous_bernoulli_are_differentiable():
    logits = t(-3.0, 0.0, 0.4, 8.0).requires_grad_()
    torch.manual_seed(0)
    draws = LogitContinuousBernoulli(logits).rsample((200000,))
    (found,) = torch.autograd.grad(draws.mean(0).sum(), logits)
    torch.testing.assert_close(found, LogitContinuousBernoulli(logits).variance.detach(), atol=2e-3, rtol=0)


def test_support():
    for law, wrong in (
        (LogitContinuousBernoulli(t(0.0), validate_args=True), 1.2),
        (DiscretizedLogistic(t(0.5), t(0.1), validate_args=True), 0.5),
        (LogMeanPoisson(t(0.0), validate_args=True), 0.5),
        (LogMeanNegativeBinomial(t(0.0), t(1.0), validate_args=True), -1.0),
    ):
        with pytest.raises(ValueError, match="support"):
            law.log_prob(t(wrong))


def exact_count_log_mass(log_mean, y, r=None):
    with mpmath.workdps(60):
        m, y = mpmath.exp(mpmath.mpf(log_mean)), mpmath.mpf(y)
        if r is None:
            return float(y * mpmath.log(m) - m - mpmath.loggamma(y + 1))
        ways = mpmath.loggamma(y + r) - mpmath.loggamma(r) - mpmath.loggamma(y + 1)
        return float(ways + r * mpmath.log(r / (r + m)) + y * mpmath.log(m / (r + m)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("log_mean", [2.0, 11.5, 13.75, 16.125])
def test_large_counts_keep_the_digits_of_their_type(log_mean, dtype):
    y = torch.tensor(log_mean).exp().round().item()
    eps = torch.finfo(dtype).eps
    found = poisson_log_mass(t(log_mean, dtype=dtype), t(y, dtype=dtype)).item()
    assert found == pytest.approx(exact_count_log_mass(log_mean, y), rel=4 * eps, abs=1e-7)
    for r in (5.0, 30.0):
        found = negative_binomial_log_mass(
            t(log_mean, dtype=dtype), t(r, dtype=dtype), t(y, dtype=dtype)
        ).item()
        assert found == pytest.approx(exact_count_log_mass(log_mean, y, r), rel=4 * eps, abs=1e-7)


def test_a_mean_far_above_the_dispersion_and_the_count():
    found = negative_binomial_log_mass(t(26.0), t(30.0), t(1e7)).item()
    assert found == pytest.approx(exact_count_log_mass(26.0, 1e7, 30.0), abs=1e-6)


def test_no_count_is_certain_where_the_mean_is_0():
    log_mean = t(-math.inf).requires_grad_()
    found = poisson_log_mass(log_mean, t(0.0))
    found.sum().backward()
    assert found.item() == 0
    assert log_mean.grad.item() == 0
    assert negative_binomial_log_mass(t(-math.inf), t(2.0), t(0.0)).item() == 0
    assert poisson_log_mass(t(-math.inf), t(3.0)).item() == -math.inf


@pytest.mark.parametrize(
    ("levels", "dtype"), [(256, torch.float16), (256, torch.float32), (65536, torch.float32)]
)
def test_a_level_that_its_type_rounds_is_within_the_cdf(levels, dtype):
    law = DiscretizedLogistic(t(0.4)[0], t(0.1)[0], levels)
    exact = torch.arange(levels, dtype=torch.float64) / (levels - 1)
    expected = law.log_prob(exact).exp().cumsum(0)
    assert (law.cdf(exact.to(dtype)).double() - expected).abs().max() < 2 * torch.finfo(dtype).eps


@pytest.mark.parametrize("logit", [-400.0, -20.0, -1.0, 0.0, 1.0, 20.0, 200.0, 1000.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slopes_at_the_ends_of_grey_values_are_finite(logit, dtype):
    logits = t(logit, dtype=dtype).requires_grad_()
    law = LogitContinuousBernoulli(logits)
    for share in (0.0, 1.0):
        place = law.icdf(t(share, dtype=dtype))
        assert place.item() == share
        assert torch.autograd.grad(place.sum(), logits)[0].item() == 0
    (slope,) = torch.autograd.grad(law.variance.sum(), logits)
    assert slope.isfinite().all()
    if abs(logit) >= 20:
        # variance = 1 / x² but for what is exponentially small
        assert slope.item() == pytest.approx(-2 / logit**3, rel=1e-4)
