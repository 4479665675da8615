"""Noise of a guide's own belongs to the latents that are computed from it, and to no point estimate beside it."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoDelta, AutoDiagonalNormal, AutoGuideList
from pyro.poutine import block
from torch import nn

from ib_pyro import InformationBottleneckELBO, to_arviz
from ib_pyro.elbo import ImportanceWeightedELBO

OWN = {"is_auxiliary": True}
RATE = -dist.Normal(0.0, 1.0).log_prob(torch.tensor(0.3).double()).item()


def number(value=0.0):
    return torch.tensor(value, dtype=torch.float64)


def model():
    pyro.sample("theta", dist.Normal(number(), 1.0))
    with pyro.plate("data", 3):
        pyro.sample("z", dist.Normal(number(), 1.0))


class Guide(nn.Module):
    """Noise u, z that depends on it, and a point estimate in one of the places where it may stand."""

    def __init__(self, place, *, learned=True, positive=False, point=False):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(3).double(), requires_grad=learned)
        self.theta = nn.Parameter(number(0.3).log() if positive else number(0.3))
        self.positive, self.place, self.point = positive, place, point

    def estimate(self, place):
        if place == self.place:
            pyro.sample("theta", dist.Delta(self.theta.exp() if self.positive else self.theta))

    def forward(self, *_):
        plate = pyro.plate("data", 3)
        self.estimate("first")
        with plate:
            u = pyro.sample("u", dist.Normal(self.loc, 1.0), infer=OWN)
        self.estimate("between")
        with plate:
            log_density = number(0.5).log().expand(3)
            pyro.sample("z", dist.Delta(2 * u, log_density) if self.point else dist.Normal(u, 1.0))
        self.estimate("last")


GUIDES = [
    pytest.param(
        {"place": place, "learned": learned, "positive": positive}, id=f"{place}, {learned}, {positive}"
    )
    for place in ("first", "between", "last")
    for learned in (True, False)
    for positive in (True, False)
]
ELBO = InformationBottleneckELBO(on_no_closed_form="monte-carlo")


@pytest.mark.parametrize("options", GUIDES)
@pytest.mark.parametrize("with_grad", [True, False])
class TestAPointEstimateBesideNoise:
    def test_has_its_own_rate(self, options, with_grad):
        with torch.set_grad_enabled(with_grad):
            terms = ELBO.terms(model, Guide(**options))
        assert terms.rate["theta"].item() == pytest.approx(RATE)
        assert (terms.joint, set(terms.auxiliary)) == ({}, {"u"})
        assert terms.estimator["theta"] == "point"

    def test_and_noise_from_which_another_latent_is_computed_is_that_ones(self, options, with_grad):
        with torch.set_grad_enabled(with_grad):
            terms = ELBO.terms(model, Guide(**options, point=True))
        assert terms.rate["theta"].item() == pytest.approx(RATE)
        assert (terms.joint, terms.auxiliary) == ({}, {})
        assert (set(terms.rate), terms.estimator["z"]) == ({"theta", "z"}, "monte-carlo")

    def test_its_weight_leaves_the_noise_alone(self, options, with_grad):
        losses = []
        with torch.set_grad_enabled(with_grad):
            for beta in (1.0, {"theta": 0.0}):
                torch.manual_seed(0)
                elbo = InformationBottleneckELBO(beta, on_no_closed_form="monte-carlo")
                losses.append(elbo.differentiable_loss(model, Guide(**options)).item())
        assert losses[0] - losses[1] == pytest.approx(RATE)


@pytest.mark.parametrize("gradient", ["iwae", "dreg"])
@pytest.mark.parametrize("with_grad", [True, False])
@pytest.mark.parametrize("learned", [True, False])
def test_in_the_importance_weighted_bound_too(gradient, with_grad, learned):
    loc, theta = torch.zeros(3).double().requires_grad_(learned), torch.full((3,), 0.3).double()

    def prior():
        with pyro.plate("data", 3):
            pyro.sample("z", dist.Normal(number(), 1.0))
            pyro.sample("theta", dist.Normal(number(), 1.0))

    def guide():
        with pyro.plate("data", 3):
            u = pyro.sample("u", dist.Normal(loc, 1.0), infer=OWN)
            pyro.sample("theta", dist.Delta(theta))
            pyro.sample("z", dist.Normal(u, 1.0))

    with torch.set_grad_enabled(with_grad):
        terms = ImportanceWeightedELBO(2, gradient=gradient).terms(prior, guide)
    assert terms.rate["theta"].tolist() == pytest.approx([RATE] * 3)
    assert set(terms.auxiliary) == {"u"}


@pytest.mark.parametrize("with_grad", [True, False])
@pytest.mark.parametrize("learned", [True, False])
class TestSeveralDraws:
    def terms(self, guide, with_grad, *latents):
        def prior():
            for name in latents:
                pyro.sample(name, dist.Normal(number(), 1.0))

        with torch.set_grad_enabled(with_grad):
            return InformationBottleneckELBO(on_no_closed_form="monte-carlo").terms(prior, guide)

    def noise(self, name, learned, loc=0.0):
        loc = number() + loc
        return pyro.sample(
            name, dist.Normal(loc.requires_grad_() if learned and loc.is_leaf else loc, 1.0), infer=OWN
        )

    def test_one_that_no_point_is_computed_from_is_auxiliary(self, with_grad, learned):
        def guide():
            u = self.noise("u", learned)
            v = self.noise("v", learned)
            pyro.sample("a", dist.Delta(v + 1))
            pyro.sample("b", dist.Normal(u, 1.0))

        terms = self.terms(guide, with_grad, "a", "b")
        assert (set(terms.rate), set(terms.auxiliary), terms.joint) == ({"a", "b"}, {"u"}, {})

    def test_a_latent_far_from_its_noise_shares_its_rate(self, with_grad, learned):
        def guide():
            u = self.noise("u", learned)
            pyro.sample("a", dist.Delta(u + 1))
            pyro.sample("b", dist.Normal(number(), 1.0))
            self.noise("v", learned)
            pyro.sample("c", dist.Delta(3 * u, log_density=-number(3.0).log()))

        terms = self.terms(guide, with_grad, "a", "b", "c")
        assert terms.joint == {"u": ("a", "c")}
        assert (set(terms.rate), set(terms.auxiliary)) == ({"u", "b"}, {"v"})

    @pytest.mark.parametrize("gradient", ["iwae", "dreg"])
    def test_noise_behind_noise_is_part_of_the_rate(self, with_grad, learned, gradient):
        def guide():
            u = self.noise("u", learned)
            v = self.noise("v", learned, u)
            pyro.sample("a", dist.Delta(v.exp(), log_density=-v))

        def prior():
            pyro.sample("a", dist.LogNormal(number(), 1.0))

        with torch.set_grad_enabled(with_grad):
            terms = ImportanceWeightedELBO(2, gradient=gradient).terms(prior, guide)
        assert (set(terms.rate), terms.auxiliary) == ({"a"}, {})


def global_model():
    pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    pyro.sample("loc", dist.Normal(torch.zeros(2), 2.0).to_event(1))


@pytest.mark.parametrize("with_grad", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"num_particles": 3, "vectorize_particles": True, "max_plate_nesting": 0}]
)
def test_a_point_after_an_automatic_guide(with_grad, options):
    guide = AutoGuideList(global_model)
    guide.append(AutoDiagonalNormal(block(global_model, expose=["loc"])))
    guide.append(AutoDelta(block(global_model, expose=["scale"])))
    guide()
    with torch.set_grad_enabled(with_grad):
        terms = InformationBottleneckELBO(**options).terms(global_model, guide)
    assert (terms.joint, terms.auxiliary) == ({}, {})
    assert terms.estimator == {"loc": "monte-carlo", "scale": "point"}


@pytest.mark.parametrize("learned", [True, False])
def test_what_is_asked_of_a_guide_changes_nothing(learned):
    """Neither the draws, nor statistics of its modules."""

    class Normalised(Guide):
        def __init__(self):
            super().__init__("between", learned=learned)
            self.norm = nn.BatchNorm1d(1).double()

        def forward(self):
            self.norm(torch.rand(4, 1).double())
            super().forward()

    found = []
    for _ in range(2):
        guide = Normalised()
        torch.manual_seed(0)
        with torch.no_grad():
            losses = [ELBO.loss(model, guide) for _ in range(2)]
        found.append((losses, int(guide.norm.num_batches_tracked), torch.rand(())))
    assert found[0][1] == 2
    torch.manual_seed(0)
    losses = [ELBO.differentiable_loss(model, guide).item() for _ in range(2)]
    assert found[0] == found[1] == (losses, 2, torch.rand(()))


@pytest.mark.parametrize("learned", [True, False])
def test_captured_it_has_the_same_terms(learned):
    guide = Guide("between", learned=learned)
    captured = ELBO.capture(model, guide)
    captured.terms_and_grads()
    torch.manual_seed(1)
    found = captured.terms_and_grads()
    torch.manual_seed(1)
    terms = ELBO.terms(model, guide)
    torch.testing.assert_close(found.loss, terms.loss.detach())
    assert set(found.auxiliary) == set(terms.auxiliary) == {"u"}
    torch.testing.assert_close(found.rate["theta"], terms.rate["theta"].detach())


def test_the_export_has_the_same_rates():
    result = to_arviz((lambda x: model(), Guide("between")), torch.zeros(3), num_samples=3)["sample_stats"]
    assert result["theta_rate"].values.ravel().tolist() == pytest.approx([RATE] * 3)
