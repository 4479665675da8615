"""Training, evaluation and compilation name the same rates, of the same value."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ib_pyro.elbo import InformationBottleneckELBO

X = torch.randn(4, generator=torch.Generator().manual_seed(0))
LOC = nn.Parameter(torch.tensor(0.3))
FROM = {
    "as it is": lambda u: u,
    "compared": lambda u: (u > 0).float(),
    "detached": lambda u: u.detach() * 2.0,
    "of the parameter alone": lambda u: LOC * torch.ones(4),
}


def model(x):
    with pyro.plate("d", 4):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def guide_of(latent, *, factor=False):
    def guide(x):
        with pyro.plate("d", 4):
            u = pyro.sample("u", dist.Normal(LOC, 1.0).expand([4]), infer={"is_auxiliary": True})
            if factor:
                pyro.factor("jacobian", -u, has_rsample=True)
            pyro.sample("z", dist.Delta(latent(u)))

    return guide


def terms(guide, *, grad, beta=1.0):
    elbo = InformationBottleneckELBO(beta=beta, on_no_closed_form="monte-carlo")
    torch.manual_seed(1)
    with torch.set_grad_enabled(grad):
        return elbo.terms(model, guide, X)


@pytest.mark.parametrize("grad_first", [True, False])
@pytest.mark.parametrize("name", FROM)
def test_with_gradients_and_without(name, grad_first):
    guide = guide_of(FROM[name])
    found = [terms(guide, grad=grad, beta={"z": 0.1}) for grad in (grad_first, not grad_first)]
    assert found[0].loss == found[1].loss
    assert found[0].rate.keys() == found[1].rate.keys() == {"z"}
    assert found[0].auxiliary.keys() == ({"u"} if name == "of the parameter alone" else set())


def test_a_factor_between_noise_and_latent_is_in_the_rate():
    found = terms(guide_of(lambda u: u, factor=True), grad=True)
    torch.manual_seed(1)
    u = dist.Normal(LOC, 1.0).expand([4]).sample()
    expected = dist.Normal(LOC, 1.0).log_prob(u) - u - dist.Normal(0.0, 1.0).log_prob(u)
    torch.testing.assert_close(found.rate["z"], expected)
    assert not found.auxiliary
    torch.testing.assert_close(found.loss, found.distortion.sum() + found.rate["z"].sum())


def test_vmap_has_the_weights_of_what_ran_before():
    guide = guide_of(FROM["of the parameter alone"])
    elbo = InformationBottleneckELBO(beta={"z": 0.1}, on_no_closed_form="monte-carlo")
    elbo.loss(model, guide, X)
    run = torch.func.vmap(lambda x: elbo.differentiable_loss(model, guide, x), randomness="same")
    assert run(torch.stack([X, X])).isfinite().all()
