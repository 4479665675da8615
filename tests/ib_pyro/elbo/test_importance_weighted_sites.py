"""Which sites make the weights of an importance-weighted bound, and which of them have to agree on both sides."""

from contextlib import nullcontext

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from ib_pyro import InformationBottleneckELBO
from ib_pyro.diagnostics import importance_log_weights, importance_weighted_log_likelihood
from ib_pyro.elbo import ImportanceWeightedELBO

X = torch.tensor([-1.0, 0.5, 1.0, 2.0], dtype=torch.float64)
ZERO = torch.zeros(4, dtype=torch.float64)
MASK = torch.tensor([True, True, False, True])


def masked(is_masked, mask=MASK):
    return poutine.mask(mask=mask) if is_masked else nullcontext()


def with_masks(in_model, in_guide, around_x=True):
    """The guide is the posterior."""

    def model():
        with pyro.plate("data", 4):
            with masked(in_model):
                z = pyro.sample("z", dist.Normal(ZERO, 1.0))
            with masked(in_model or around_x):
                pyro.sample("x", dist.Normal(z, 1.0), obs=X)

    def guide():
        with pyro.plate("data", 4), masked(in_guide, MASK.clone()):
            pyro.sample("z", dist.Normal(X / 2, 0.5**0.5))

    return model, guide


BOUNDS = {
    "bound": ImportanceWeightedELBO(8).loss,
    "bound, dreg": ImportanceWeightedELBO(8, gradient="dreg").loss_and_grads,
    "weights": lambda *p: -importance_weighted_log_likelihood(*p, num_samples=8).sum().item(),
}


@pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS)
class TestMasks:
    @pytest.mark.parametrize("sides", [(True, False), (False, True)])
    def test_on_one_side_are_refused(self, bound, sides):
        with pytest.raises(ValueError, match=r"site 'z': its mask is .* in the guide but .* in the model"):
            bound(*with_masks(*sides))

    def test_on_both_sides_leave_samples_out(self, bound):
        evidence = dist.Normal(ZERO, 2**0.5).log_prob(X)[MASK].sum()
        assert bound(*with_masks(True, True)) == pytest.approx(-evidence.item())

    def test_around_an_observation_alone_are_the_models(self, bound):
        bound(*with_masks(False, False))


def with_deterministic(in_model=False, in_guide=False):
    noise = torch.tensor(0.7, dtype=torch.float64)

    def model():
        scale = pyro.deterministic("scale", noise.exp()) if in_model else noise.exp()
        with pyro.plate("data", 4):
            z = pyro.sample("z", dist.Normal(ZERO, 1.0))
            pyro.sample("x", dist.Normal(z, scale), obs=X)

    def guide():
        gain = noise / 2
        gain = pyro.deterministic("gain", gain) if in_guide else gain
        with pyro.plate("data", 4):
            z = pyro.sample("z", dist.Normal(gain * X, 0.9))
            if in_guide:
                pyro.deterministic("square", z.square(), event_dim=0)

    return model, guide


@pytest.mark.parametrize(
    "where", [{"in_model": True}, {"in_guide": True}, {"in_model": True, "in_guide": True}]
)
class TestDeterministicSites:
    def test_weights_are_those_of_the_program_without_them(self, where):
        found = []
        for options in (where, {}):
            torch.manual_seed(0)
            found.append(importance_log_weights(*with_deterministic(**options), num_samples=5))
        assert found[0].shape == (5, 4)
        assert torch.equal(*found)

    @pytest.mark.parametrize("gradient", ["iwae", "dreg"])
    def test_so_is_the_bound(self, where, gradient):
        found = []
        for options in (where, {}):
            torch.manual_seed(0)
            elbo = ImportanceWeightedELBO(5, gradient=gradient)
            found.append(elbo.terms(*with_deterministic(**options)))
        assert found[0].loss == found[1].loss
        assert set(found[0].rate) == {"z"}

    def test_and_the_lagrangian(self, where):
        found = []
        for options in (where, {}):
            torch.manual_seed(0)
            found.append(InformationBottleneckELBO().loss(*with_deterministic(**options)))
        assert found[0] == found[1]
