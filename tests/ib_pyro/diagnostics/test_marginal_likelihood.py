"""Importance weighting gives the likelihood where it is known, and bounds it where the guide is wrong."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoNormal

from ib_pyro.diagnostics import importance_log_weights, importance_weighted_log_likelihood
from ib_pyro.information import effective_sample_size, importance_weighted_bound

Y = torch.tensor([-1.3, 0.2, 0.9, 2.5], dtype=torch.float64)
NOISE = 0.8


def model(y, size=None):
    with pyro.plate("data", size or len(y), subsample=torch.arange(len(y))):
        z = pyro.sample("z", dist.Normal(torch.zeros_like(y), 1.0))
        pyro.sample("y", dist.Normal(z, NOISE), obs=y)


def exact_guide(y, size=None):
    variance = NOISE**2 / (1 + NOISE**2)
    with pyro.plate("data", size or len(y), subsample=torch.arange(len(y))):
        pyro.sample("z", dist.Normal(y / (1 + NOISE**2), variance**0.5))


def wrong_guide(y, size=None):
    with pyro.plate("data", size or len(y), subsample=torch.arange(len(y))):
        pyro.sample("z", dist.Normal(0.3 * y, 1.0))


def log_likelihood():
    return dist.Normal(torch.zeros_like(Y), (1 + NOISE**2) ** 0.5).log_prob(Y)


@pytest.mark.parametrize("size", [None, 40])
def test_every_weight_is_the_likelihood_under_the_exact_posterior(size):
    weights = importance_log_weights(model, exact_guide, Y, size, num_samples=3)
    torch.testing.assert_close(weights, log_likelihood().expand(3, 4))
    bound = importance_weighted_log_likelihood(model, exact_guide, Y, size, num_samples=3)
    torch.testing.assert_close(bound, log_likelihood())


def test_bound_rises_from_the_elbo_to_the_likelihood():
    copies = 400
    weights = importance_log_weights(model, wrong_guide, Y.repeat(copies), num_samples=64)
    weights = weights.unflatten(1, (copies, len(Y))).flatten(0, 1)
    one, some, many = (weights.unflatten(0, (-1, k)).logsumexp(1).mean(0) - math.log(k) for k in (1, 4, 64))
    error = weights.std(0) / len(weights) ** 0.5
    assert (some - one > 5 * error).all()
    assert (many - some > 5 * error).all()
    assert (many < log_likelihood() + 5 * error).all()
    torch.testing.assert_close(many, log_likelihood(), atol=0.03, rtol=0)
    # One draw a weight is the ELBO, here in closed form.
    kl = 0.5 * (0.3 * Y).square()
    fit = -0.5 * ((0.7 * Y).square() + 1) / NOISE**2 - math.log(NOISE) - 0.5 * math.log(2 * math.pi)
    assert ((one - (fit - kl)).abs() < 5 * error).all()


def test_masked_samples_have_the_weight_of_their_prior():
    mask = torch.tensor([True, False, True, False])

    def masked(program):
        return poutine.mask(program, mask=mask)

    weights = importance_log_weights(masked(model), masked(exact_guide), Y, num_samples=2)
    torch.testing.assert_close(weights, (log_likelihood() * mask).expand(2, 4))


def test_a_global_latent_gives_the_likelihood_of_the_whole_data():
    def with_mean():
        mean = pyro.sample("mean", dist.Normal(torch.zeros((), dtype=torch.float64), 2.0))
        with pyro.plate("data", len(Y)):
            pyro.sample("y", dist.Normal(mean, NOISE), obs=Y)

    def guide():
        pyro.sample("mean", dist.Normal(torch.tensor(0.5, dtype=torch.float64), 0.5))

    covariance = NOISE**2 * torch.eye(4, dtype=torch.float64) + 4.0
    exact = dist.MultivariateNormal(torch.zeros(4, dtype=torch.float64), covariance).log_prob(Y)
    weights = importance_log_weights(with_mean, guide, num_samples=1000)
    assert weights.shape == (1000,)
    assert effective_sample_size(weights) > 300
    torch.testing.assert_close(importance_weighted_bound(weights), exact, atol=0.1, rtol=0)


def test_automatic_guides_are_taken_with_their_jacobian():
    def scale_model():
        scale = pyro.sample("scale", dist.LogNormal(torch.zeros((), dtype=torch.float64), 1.0))
        pyro.sample("y", dist.Normal(torch.zeros_like(Y), scale).to_event(1), obs=Y)

    guide = AutoNormal(scale_model)
    guide()
    guide.double()
    torch.manual_seed(0)
    weights = importance_log_weights(scale_model, guide, num_samples=5)
    torch.manual_seed(0)
    losses = [Trace_ELBO().loss(scale_model, guide) for _ in range(5)]
    torch.testing.assert_close(weights, -torch.tensor(losses, dtype=torch.float64))


def test_discrete_guides_are_welcome():
    def coin(y):
        with pyro.plate("data", len(y)):
            z = pyro.sample("z", dist.Bernoulli(torch.full_like(y, 0.25)))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(y):
        with pyro.plate("data", len(y)):
            pyro.sample("z", dist.Bernoulli(torch.full_like(y, 0.5)))

    exact = (
        0.25 * dist.Normal(1.0, 1.0).log_prob(Y).exp() + 0.75 * dist.Normal(0.0, 1.0).log_prob(Y).exp()
    ).log()
    bound = importance_weighted_log_likelihood(coin, guide, Y.repeat(100), num_samples=64)
    torch.testing.assert_close(bound.unflatten(0, (100, 4)).mean(0), exact, atol=0.02, rtol=0)


def other_site(y, size=None):
    with pyro.plate("data", len(y)):
        pyro.sample("u", dist.Normal(torch.zeros_like(y), 1.0))


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: importance_log_weights(model, exact_guide, Y, num_samples=0), "num_samples.*got 0"),
        (
            lambda: importance_log_weights(model, other_site, Y),
            r"\['z'\] only in the model, \['u'\] only in the guide",
        ),
        (
            lambda: importance_log_weights(poutine.scale(model, 0.5), poutine.scale(exact_guide, 0.5), Y),
            "site 'z': its scale is 0.5, where its plates account for 1.*poutine.scale",
        ),
    ],
)
def test_bad_input_is_named(run, message):
    with pytest.raises(ValueError, match=message):
        run()


def test_a_subsample_beside_a_global_latent_is_refused():
    def subsampled():
        mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
        with pyro.plate("data", 40, subsample=torch.arange(4)):
            pyro.sample("y", dist.Normal(mean, NOISE), obs=Y.float())

    def guide():
        pyro.sample("mean", dist.Normal(0.5, 0.5))

    with pytest.raises(ValueError, match=r"site 'y': its scale is 10.*all the data at once"):
        importance_log_weights(subsampled, guide)
