"""The contracts of distributions and divergences: ours keep them, and each way to break them has a sentence."""

import math

import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import constraints
from torch.distributions import register_kl

from ib_pyro.distributions import (
    FactorizedLogNormal,
    MultiplicativeBernoulli,
    MultiplicativeLogNormal,
    MultiplicativeNormal,
    NoisyActivation,
    ZeroInflatedLogUniform,
)
from ib_pyro.testing import check_distribution, check_rate

F, ALPHA = torch.tensor([0.0, 0.3, 1.0, 4.0]), torch.tensor([0.3, 0.2, 0.7, 0.6])
OWN = {
    "log-normal": MultiplicativeLogNormal(F, ALPHA),
    "log-normal, unit mean, 2 by 2": MultiplicativeLogNormal(
        F.reshape(2, 2), ALPHA.reshape(2, 2), unit_mean=True
    ),
    "normal": MultiplicativeNormal(-F, ALPHA),
    "Bernoulli": MultiplicativeBernoulli(F - 1, ALPHA),
    "factorised": FactorizedLogNormal(F, ALPHA),
    "log-uniform": ZeroInflatedLogUniform(ALPHA, 0.1, 10.0),
    "an event": MultiplicativeLogNormal(F, ALPHA).to_event(1),
    "Poisson": dist.Poisson(torch.tensor([0.5, 20.0])),
    "Cauchy": dist.Cauchy(0.0, 1.0),
}


HALF = torch.float16, torch.bfloat16


@pytest.mark.parametrize("kind", OWN)
def test_distributions_keep_it(kind):
    check_distribution(OWN[kind])


@pytest.mark.parametrize("kind", [kind for kind in OWN if kind not in ("Poisson", "Cauchy")])
def test_those_of_this_package_keep_it_in_half_precision_too(kind):
    check_distribution(OWN[kind], dtypes=HALF)


SHARP = {
    "singular at zero": dist.Gamma(0.05, 1.0),
    "at both ends": dist.Beta(0.4, 0.4),
    "heavy tails": dist.Pareto(1.0, 0.5),
    "far from zero": dist.Normal(1e4, 1.0),
    "two peaks": dist.MixtureSameFamily(
        dist.Categorical(torch.ones(2)), dist.Normal(torch.tensor([-5.0, 5.0]), torch.ones(2))
    ),
    "two sides and an atom": ZeroInflatedLogUniform(torch.tensor(0.3), 0.1, 10.0, two_sided=True),
    "counts": dist.Geometric(0.1),
    "a law within": dist.StudentT(1.5, 0.0, 1.0),
    "a gate": dist.ZeroInflatedPoisson(torch.tensor(3.0), gate=torch.tensor(0.5)),
}


@pytest.mark.parametrize("kind", SHARP)
def test_a_density_that_is_hard_to_integrate_is_not_accused(kind):
    check_distribution(SHARP[kind])


@pytest.mark.parametrize("seed", range(5))
def test_draws_of_a_law_that_moves_its_support_are_not_accused(seed):
    check_distribution(dist.Uniform(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 5.0])), seed=seed)


def test_a_law_that_was_told_not_to_be_checked_stays_as_it_is():
    law = MultiplicativeLogNormal(F, ALPHA, validate_args=False)
    check_distribution(law)
    assert law._validate_args is False
    assert law.has_rsample is True


class Kept(NoisyActivation):
    """``eps ~ Exponential(1)``."""

    arg_constraints = {"activation": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, activation, validate_args=None):
        self.activation = activation
        super().__init__(activation.shape, validate_args=validate_args)

    def rsample(self, sample_shape=torch.Size()):  # noqa: B008
        return self.activation * self.activation.new_empty(self._extended_shape(sample_shape)).exponential_()

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return -value / self.activation - self.activation.log()

    def cdf(self, value):
        return -torch.expm1(-value / self.activation)

    @property
    def mean(self):
        return self.activation


class Unit(Kept):
    """A law without parameters."""

    arg_constraints = {}
    activation = torch.ones(3, dtype=torch.float64)

    def __init__(self, validate_args=None):
        dist.TorchDistribution.__init__(self, (3,), validate_args=validate_args)


LEFT = {
    "learned": lambda: Kept(torch.ones(2, dtype=torch.float64, requires_grad=True), validate_args=True),
    "fixed": lambda: Kept(torch.ones(2, dtype=torch.float64), validate_args=True),
    "without parameters": lambda: Unit(validate_args=True),
}


@pytest.mark.parametrize("kind", LEFT)
def test_it_leaves_the_law_as_it_is(kind):
    law = LEFT[kind]()
    before = dict(vars(law))
    check_distribution(law, dtypes=[torch.float64])
    assert vars(law) == before


class NoJacobian(Kept):
    def log_prob(self, value):
        return super().log_prob(value) + self.activation.log()


class Heavy(Kept):
    def log_prob(self, value):
        return super().log_prob(value) + 0.04


class MissingAtom(Kept):
    """One draw in twenty is zero, of which the density knows nothing."""

    def rsample(self, sample_shape=torch.Size()):  # noqa: B008
        z = super().rsample(sample_shape)
        return z * (torch.rand_like(z) > 0.05)

    def log_prob(self, value):
        return super().log_prob(value) + math.log(0.95)


class Single(Kept):
    def rsample(self, sample_shape=torch.Size()):  # noqa: B008
        return super().rsample(sample_shape).float()


class Cancels(Kept):
    def log_prob(self, value):
        return super().log_prob(value) + (1e5 + value) - 1e5 - value


class Stays(Kept):
    def log_prob(self, value):
        return super().log_prob(value).double()


class DetachedDraws(Kept):
    def rsample(self, sample_shape=torch.Size()):  # noqa: B008
        return super().rsample(sample_shape).detach() + 0 * self.activation


class HalfTheGradient(Kept):
    def rsample(self, sample_shape=torch.Size()):  # noqa: B008
        z = super().rsample(sample_shape)
        return 0.5 * (z + z.detach())


class Narrow(Kept):
    """A density of another shape, with the right total mass."""

    def log_prob(self, value):
        return math.log(2) - super().log_prob(value) * 0 - 2 * value / self.activation - self.activation.log()


class OneDraw(Kept):
    def rsample(self, sample_shape=torch.Size()):  # noqa: B008
        noise = torch.empty(self._batch_shape[-1:]).exponential_()
        return self.activation * noise.expand(self._extended_shape(sample_shape))


class WrongShape(Kept):
    def rsample(self, sample_shape=torch.Size()):  # noqa: B008
        return super().rsample()


class Summed(Kept):
    def log_prob(self, value):
        return super().log_prob(value).sum(-1)


class Infinite(Kept):
    def log_prob(self, value):
        return super().log_prob(value).masked_fill(value > self.activation, -math.inf)


class Unchecked(Kept):
    def log_prob(self, value):
        return -value / self.activation - self.activation.log()


class TooSmall(Kept):
    support = constraints.interval(0.0, 0.5)


class WrongCdf(Kept):
    def cdf(self, value):
        return super().cdf(2 * value)


class WrongMean(Kept):
    @property
    def mean(self):
        return 1.1 * self.activation


class Wrapped(Kept):
    expand = dist.TorchDistribution.expand


class LosesFlags(Kept):
    def expand(self, batch_shape, _instance=None):
        return type(self)(self.activation.expand(batch_shape), validate_args=False)


class Shifts(Kept):
    def expand(self, batch_shape, _instance=None):
        wide = super().expand(batch_shape, _instance)
        wide.activation = wide.activation * 1.1
        return wide


class OneValue(Kept):
    @property
    def noise_free(self):
        return torch.ones(())


class OneVariable(Kept):
    def noise_variables(self, z):
        return {"eps": (torch.ones(()), "eps")}


BROKEN = {
    NoJacobian: "its density, atoms and all, integrates to 0.5 instead of 1|integrates to 3(\\.\\d+)? instead of 1",
    DetachedDraws: r"gradient of its draws in activation is not that of its law \(3 of 3 elements",
    HalfTheGradient: r"gradient of its draws in activation is not that of its law \(3 of 3 elements",
    Heavy: r"integrates to 1\.0\d+ instead of 1",
    MissingAtom: r"integrates to 2.8\d instead of 1",
    Single: r"with parameters of torch.float64 its draws are torch.float32",
    Cancels: r"in torch.float32 its log_prob is .* where it should be",
    Stays: r"with parameters of torch.float32 its draws are torch.float32, their log_prob torch.float64",
    Narrow: "do not follow its density",
    WrongShape: r"sample\(\(n,\)\) has shape \(3,\).*_extended_shape",
    Summed: r"log_prob has shape \(4000,\) instead of \(4000, 3\)",
    Infinite: "log_prob of its own draws is not finite",
    Unchecked: r"log_prob\(-1\), outside of its support .* is not refused.*_validate_sample",
    TooSmall: "draws lie outside of its support|log_prob of its own draws fails",
    WrongCdf: "do not follow its cdf",
    WrongMean: "the mean of its draws is",
    Wrapped: "expand makes a ExpandedDistribution of it.*NoisyActivation",
    LosesFlags: "loses validate_args",
    Shifts: "an expansion has another log_prob",
    OneDraw: "its draws are copies of one draw.*_extended_shape",
    OneValue: r"noise_free has shape \(\)",
    OneVariable: r"noise_variables gives eps of shape \(\)",
}


def test_a_law_of_ones_own_keeps_it():
    check_distribution(Kept(torch.tensor([0.5, 1.0, 3.0])))


@pytest.mark.parametrize("kind", [kind.__name__ for kind in BROKEN])
def test_each_way_to_break_it_has_a_sentence(kind):
    law = next(law for law in BROKEN if law.__name__ == kind)
    with pytest.raises(AssertionError, match=f"^{kind}: .*({BROKEN[law]})"):
        check_distribution(law(torch.tensor([0.5, 1.0, 3.0])))


RATES = {
    "log-normal, log-uniform": (MultiplicativeLogNormal(F, ALPHA), ZeroInflatedLogUniform(0.3), 0.0),
    "normal, log-uniform": (
        MultiplicativeNormal(F, ALPHA),
        ZeroInflatedLogUniform(0.3, two_sided=True),
        0.01,
    ),
    "normal, normal": (MultiplicativeNormal(F + 1, ALPHA), dist.Normal(0.0, 1.0), 0.0),
    "infinite at the atom": (MultiplicativeNormal(F, ALPHA), dist.Normal(0.0, 1.0), 0.0),
    "an event": (
        MultiplicativeLogNormal(F + 1, ALPHA).to_event(1),
        FactorizedLogNormal(torch.zeros(4), 1.0),
        0.0,
    ),
}


@pytest.mark.parametrize("kind", RATES)
def test_rates_keep_it(kind):
    posterior, prior, tolerance = RATES[kind]
    check_rate(posterior, prior, tolerance=tolerance)


def test_an_approximation_is_told_from_a_closed_form():
    posterior, prior = (
        MultiplicativeNormal(torch.ones(400), 0.9),
        ZeroInflatedLogUniform(1.0, two_sided=True),
    )
    posterior, prior = posterior.to_event(1), prior.expand((400,)).to_event(1)
    with pytest.raises(AssertionError, match="allow for an approximation by `tolerance`"):
        check_rate(posterior, prior)
    check_rate(posterior, prior, tolerance=0.01)


def rate(value):
    """A law of its own whose divergence to the unit exponential is what a function of it returns."""
    law = type("Law", (Kept,), {})

    @register_kl(law, dist.Exponential)
    def _kl(p, q):
        return value(p.activation - 1 - p.activation.log(), p)

    return law(torch.tensor([0.5, 1.0, 3.0]))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("right", None),
        ("sign", "nats, but the mean of log p - log q"),
        ("constant", "nats, but the mean of log p - log q"),
        ("sum", r"has shape \(\) instead of the batch shape \(3,\)"),
        ("double", "has the type torch.float64"),
        ("nan", "is NaN"),
        ("infinite", "is infinite where the mean"),
        ("batch", "not found after expand"),
        ("error", "RuntimeError: broken"),
        ("gradient", "its gradient in the activation of p is not finite \\(1 of 3\\)"),
    ],
)
def test_each_way_to_break_a_rate_has_a_sentence(kind, message):
    def broken(p):
        if p.batch_shape != (3,):
            raise ValueError("only three units")

    def raises():
        raise RuntimeError("broken")

    law = rate(
        {
            "right": lambda kl, p: kl,
            "sign": lambda kl, p: -kl,
            "constant": lambda kl, p: kl + 0.1,
            "sum": lambda kl, p: kl.sum(),
            "double": lambda kl, p: kl.double(),
            "nan": lambda kl, p: kl * math.nan,
            "infinite": lambda kl, p: kl + math.inf,
            "batch": lambda kl, p: (broken(p), kl)[1],
            "error": lambda kl, p: raises(),
            "gradient": lambda kl, p: kl + 0 * (p.activation - 1).abs().sqrt(),
        }[kind]
    )
    prior = dist.Exponential(torch.ones(3))
    if message is None:
        check_rate(law, prior)
        return
    with pytest.raises(AssertionError, match=rf"KL\(Law \|\| Exponential\).*{message}"):
        check_rate(law, prior)


def test_a_missing_rate_says_where_it_belongs():
    with pytest.raises(AssertionError, match=r"is not registered.*@register_kl\(Kept, Normal\)"):
        check_rate(Kept(torch.ones(3)), dist.Normal(torch.zeros(3), 1.0))
