"""Closed forms of KL divergences are right, or refused: against the mean of log p - log q over draws."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import transforms as T
from torch.distributions import kl_divergence, register_kl

from ib_pyro.closed_forms import closed_form
from ib_pyro.elbo import InformationBottleneckELBO, MissingKLError

ONE, TWO = torch.tensor(1.0, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)
SHIFTED = dist.Normal(ONE, 0.7 * ONE)
STANDARD = dist.Normal(0 * ONE, ONE)
UNIT = dist.Uniform(0 * ONE, ONE)
GREY = dist.ContinuousBernoulli(0.8 * ONE)
RIGHT = {
    "the same law": (SHIFTED, STANDARD),
    "log-normal": (dist.LogNormal(ONE, 0.7 * ONE), dist.LogNormal(0 * ONE, TWO)),
    "half-normal": (dist.HalfNormal(0.6 * ONE), dist.HalfNormal(ONE)),
    "half-Cauchy": (dist.HalfCauchy(0.6 * ONE), dist.HalfCauchy(ONE)),
    "half-normal, transformed": tuple(
        dist.TransformedDistribution(dist.HalfNormal(scale * ONE), [T.ExpTransform()]) for scale in (0.3, 0.4)
    ),
    "sigmoid": tuple(dist.TransformedDistribution(fn, [T.SigmoidTransform()]) for fn in (SHIFTED, STANDARD)),
}
FOLDED = {
    "folded": tuple(dist.FoldedDistribution(fn) for fn in (SHIFTED, STANDARD)),
    "folded and half": (dist.FoldedDistribution(SHIFTED), dist.HalfNormal(ONE)),
    "half and folded": (dist.HalfNormal(ONE), dist.FoldedDistribution(SHIFTED)),
    "folded, then transformed": tuple(
        dist.TransformedDistribution(dist.FoldedDistribution(fn), [T.ExpTransform()])
        for fn in (SHIFTED, STANDARD)
    ),
    "composed": tuple(
        dist.TransformedDistribution(
            fn, [T.ComposeTransform([T.AffineTransform(ONE, TWO), T.AbsTransform()])]
        )
        for fn in (SHIFTED, STANDARD)
    ),
}
RIGHT |= {
    "wide uniform": (GREY, dist.Uniform(-ONE, TWO)),
    "narrow uniform": (dist.Uniform(0.2 * ONE, 0.7 * ONE), GREY),
}
UNIT_INTERVAL = {"uniform and grey": (UNIT, GREY), "grey and uniform": (GREY, UNIT)}


def sampled(p, q, num=200_000):
    torch.manual_seed(0)
    z = p.sample((num,))
    terms = p.log_prob(z) - q.log_prob(z)
    return terms.mean(), 5 * terms.std() / num**0.5 + 1e-9


@pytest.mark.parametrize("name", RIGHT)
def test_it_is_the_mean_over_draws(name):
    value, width = sampled(*RIGHT[name])
    assert abs(closed_form(*RIGHT[name]) - value) < width


@pytest.mark.parametrize("name", [*FOLDED, *UNIT_INTERVAL])
def test_a_rule_that_is_wrong_is_refused(name):
    p, q = {**FOLDED, **UNIT_INTERVAL}[name]
    try:
        value, width = sampled(p, q)
        assert abs(kl_divergence(p, q) - value) > width, "PyTorch has mended its rule"
    except NotImplementedError:
        pass  # it has no density, or no rule
    with pytest.raises(NotImplementedError, match="AbsTransform for one to one|ends at 0 or 1"):
        closed_form(p, q)


def test_wrappers_hide_no_fold():
    p, q = (fn.expand([3]).to_event(1).mask(True) for fn in FOLDED["folded"])
    with pytest.raises(NotImplementedError, match="AbsTransform"):
        closed_form(p, q)


def test_a_transform_that_looks_at_a_part_of_its_input_is_refused():
    """What it leaves out of sight may differ under the same law."""
    p, q = (
        dist.TransformedDistribution(dist.Normal(loc, 1.0).to_event(2), [T.LowerCholeskyTransform()])
        for loc in (torch.zeros(2, 2), torch.tensor([[0.0, 5.0], [0.0, 0.0]]))
    )
    assert kl_divergence(p, q) == 12.5, "PyTorch has mended its rule"
    with pytest.raises(NotImplementedError, match="LowerCholeskyTransform for one to one"):
        closed_form(p, q)


def test_a_rule_of_ones_own_is_taken():
    class Folded(dist.FoldedDistribution):
        pass

    @register_kl(Folded, Folded)
    def _(p, q):
        return torch.tensor(7.0)

    assert closed_form(Folded(SHIFTED), Folded(STANDARD)) == 7.0
    assert closed_form(Folded(SHIFTED).mask(True), Folded(STANDARD).mask(True)) == 7.0


class TestRate:
    """What an objective makes of it."""

    @staticmethod
    def model():
        pyro.sample("s", dist.HalfNormal(ONE))

    @staticmethod
    def guide():
        pyro.sample("s", FOLDED["folded"][0])

    def test_it_has_no_closed_form(self):
        with pytest.raises(MissingKLError, match="site 's': no closed-form KL .*AbsTransform.*monte-carlo"):
            InformationBottleneckELBO().terms(self.model, self.guide)

    def test_at_the_draw_it_is_right(self):
        elbo = InformationBottleneckELBO(
            on_no_closed_form="monte-carlo",
            num_particles=20_000,
            vectorize_particles=True,
            max_plate_nesting=0,
        )
        torch.manual_seed(0)
        found = elbo.terms(self.model, self.guide)
        grid = torch.linspace(1e-6, 8, 80_001, dtype=torch.float64)
        p, q = FOLDED["folded"][0].log_prob(grid), dist.HalfNormal(ONE).log_prob(grid)
        exact = torch.trapezoid(p.exp() * (p - q), grid)
        assert found.estimator == {"s": "monte-carlo"}
        torch.testing.assert_close(found.loss, exact, atol=0.02, rtol=0)
