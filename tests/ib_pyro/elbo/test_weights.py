"""Beta in all its forms: a number, a tensor, one for each sample, one for each site, exactly zero."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from ib_pyro import InformationBottleneckELBO
from ib_pyro.distributions import MultiplicativeLogNormal, ZeroInflatedLogUniform


def seeded(function, *args, seed=0):
    torch.manual_seed(seed)
    return function(*args)


def terms_of(program, beta=1.0, **options):
    return seeded(InformationBottleneckELBO(beta=beta, **options).terms, *program.call)


@pytest.fixture
def bottleneck(build):
    return build("information dropout, softplus")


SCALE = 60 / 6  # num_data over the batch


@pytest.mark.parametrize("beta", [0, 0.0, 0.3, 2, torch.tensor(0.3), torch.tensor([0.3])])
def test_the_loss_is_distortion_plus_beta_times_rate(bottleneck, beta):
    terms = terms_of(bottleneck, beta)
    expected = (terms.distortion + float(beta) * (terms.rate["z1"] + terms.rate["z2"])).sum() * SCALE
    torch.testing.assert_close(terms.loss, expected, rtol=1e-6, atol=0)
    for evaluate in ("differentiable_loss", "loss", "loss_and_grads"):
        loss = seeded(getattr(InformationBottleneckELBO(beta=beta), evaluate), *bottleneck.call)
        assert torch.as_tensor(loss, dtype=torch.float64).item() == pytest.approx(
            terms.loss.item(), rel=1e-12
        )


def test_one_beta_for_each_sample(bottleneck):
    beta = torch.rand(6, dtype=torch.float64)
    terms = terms_of(bottleneck, beta)
    expected = (terms.distortion + beta * sum(terms.rate.values())).sum() * SCALE
    torch.testing.assert_close(terms.loss, expected)


@pytest.mark.parametrize(
    "beta", [{"z1": 0.2}, {"z1": 0.2, "z2": torch.tensor(3.0)}, {"z2": torch.rand(6)}, {}]
)
def test_one_beta_for_each_site(bottleneck, beta):
    """A site that the mapping leaves out keeps weight 1."""
    terms = terms_of(bottleneck, beta)
    rate = beta.get("z1", 1.0) * terms.rate["z1"] + beta.get("z2", 1.0) * terms.rate["z2"]
    torch.testing.assert_close(terms.loss, (terms.distortion + rate).sum() * SCALE, rtol=1e-6, atol=0)


def test_a_beta_that_is_a_tensor_has_a_gradient(bottleneck):
    beta = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    terms = terms_of(bottleneck, beta)
    (gradient,) = torch.autograd.grad(terms.loss, beta)
    torch.testing.assert_close(gradient, sum(terms.rate.values()).sum() * SCALE)


def test_beta_may_be_set_between_steps(bottleneck):
    elbo = InformationBottleneckELBO(beta=0.0)
    elbo.beta = 0.7
    assert seeded(elbo.loss, *bottleneck.call) == pytest.approx(
        terms_of(bottleneck, 0.7).loss.item(), rel=1e-12
    )


def test_the_terms_do_not_depend_on_beta(program):
    plain, heavy = terms_of(program), terms_of(program, 5.0)
    torch.testing.assert_close(plain.distortion, heavy.distortion, rtol=0, atol=0)
    for site in plain.rate:
        torch.testing.assert_close(plain.rate[site], heavy.rate[site], rtol=0, atol=0)


@pytest.mark.parametrize("beta", [0.3, torch.tensor(0.3, dtype=torch.float64)])
def test_the_loss_is_affine_in_beta_for_every_program(program, beta):
    at = [terms_of(program, value).loss for value in (0.0, beta, 1.0)]
    torch.testing.assert_close(at[1], at[0] + 0.3 * (at[2] - at[0]), rtol=1e-9, atol=1e-9)


class TestInfiniteRates:
    """A closed gate makes a unit that is off cost infinitely much; weight zero leaves even that out."""

    @pytest.fixture
    def sides(self):
        f = torch.tensor([[0.0, 1.0], [2.0, 3.0]], dtype=torch.float64, requires_grad=True)
        alpha = torch.full((2, 2), 0.5, dtype=torch.float64, requires_grad=True)

        def model():
            prior = ZeroInflatedLogUniform(torch.zeros(2, dtype=torch.float64))
            with pyro.plate("data", 2):
                z = pyro.sample("z", prior.to_event(1))
                pyro.sample("y", dist.Normal(z.sum(-1), 1.0), obs=torch.zeros(2, dtype=torch.float64))

        def guide():
            with pyro.plate("data", 2):
                pyro.sample("z", MultiplicativeLogNormal(f, alpha).to_event(1))

        return model, guide, f, alpha

    @pytest.mark.parametrize("beta", [0, 0.0, torch.tensor(0.0), {"z": 0.0}, {"z": torch.tensor(0.0)}])
    def test_weight_zero_is_exact(self, sides, beta):
        model, guide, f, alpha = sides
        terms = InformationBottleneckELBO(beta).terms(model, guide)
        assert terms.rate["z"].tolist() == [math.inf, pytest.approx(2 * math.log(0.7 / 0.5))]
        torch.testing.assert_close(terms.loss, terms.distortion.sum(), rtol=0, atol=0)
        for gradient in torch.autograd.grad(terms.loss, (f, alpha)):
            assert gradient.isfinite().all()

    def test_weight_zero_for_one_sample(self, sides):
        model, guide, f, alpha = sides
        beta = torch.tensor([0.0, 2.0], dtype=torch.float64)
        terms = InformationBottleneckELBO(beta).terms(model, guide)
        torch.testing.assert_close(terms.loss, terms.distortion.sum() + 2 * terms.rate["z"][1])
        assert all(g.isfinite().all() for g in torch.autograd.grad(terms.loss, (f, alpha)))

    @pytest.mark.parametrize("beta", [1e-9, torch.tensor([1e-9, 1.0], dtype=torch.float64), {"z": 2.0}])
    def test_any_other_weight_is_refused(self, sides, beta):
        model, guide, *_ = sides
        with pytest.raises(
            ValueError, match="site 'z': its rate is infinite for 1 of 2 samples.*beta={'z': 0.0}"
        ):
            InformationBottleneckELBO(beta).differentiable_loss(model, guide)


@pytest.mark.parametrize(
    ("beta", "message"),
    [
        (-0.1, r"beta must be at least 0; got -0.1"),
        (math.nan, r"beta must be at least 0; got nan"),
        (torch.tensor([0.1, -0.1]), r"beta must be at least 0"),
        ({"z1": 0.1, "z2": -1.0}, r"beta\['z2'\] must be at least 0; got -1.0"),
    ],
)
def test_a_negative_beta(beta, message):
    with pytest.raises(ValueError, match=message):
        InformationBottleneckELBO(beta)
    elbo = InformationBottleneckELBO()
    with pytest.raises(ValueError, match=message):
        elbo.beta = beta
    with pytest.raises(ValueError, match=message.replace("beta", "gamma")):
        InformationBottleneckELBO(gamma=beta)


@pytest.mark.parametrize("beta", ["0.1", None, [0.1]])
def test_a_beta_of_a_wrong_kind(beta):
    with pytest.raises(TypeError, match="beta must be a number, a tensor or a mapping of sites"):
        InformationBottleneckELBO(beta)


@pytest.mark.parametrize("weight", ["beta", "gamma"])
def test_a_weight_for_a_site_that_does_not_exist(bottleneck, weight):
    elbo = InformationBottleneckELBO(**{weight: {"z11": 0.1}})
    with pytest.raises(ValueError, match=rf"{weight}: site 'z11' is unknown; did you mean 'z1'"):
        elbo.loss(*bottleneck.call)
    elbo = InformationBottleneckELBO(**{weight: {"y": 0.1}})
    with pytest.raises(ValueError, match=r"site 'y' is unknown; choose 'z1' or 'z2'"):
        elbo.loss(*bottleneck.call)
