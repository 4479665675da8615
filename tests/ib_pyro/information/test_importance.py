"""Importance weighting against the likelihood of a linear Gaussian model."""

import math

import pytest
import torch
from torch.distributions import Normal

from ib_pyro.information import effective_sample_size, importance_weighted_bound

NOISE = 0.6
X = torch.tensor([-1.5, 0.2, 2.0], dtype=torch.float64)
LIKELIHOOD = Normal(torch.zeros((), dtype=torch.float64), (1 + NOISE**2) ** 0.5).log_prob(X)


def log_weights(proposal, shape):
    z = proposal.sample(shape)
    return Normal(0.0, 1.0).log_prob(z) + Normal(z, NOISE).log_prob(X) - proposal.log_prob(z)


@pytest.mark.parametrize("k", [1, 7])
def test_exact_posterior_gives_the_likelihood_for_any_number_of_draws(k):
    torch.manual_seed(0)
    variance = NOISE**2 / (1 + NOISE**2)
    posterior = Normal(X / (1 + NOISE**2), variance**0.5)
    weights = log_weights(posterior, (k,))
    torch.testing.assert_close(importance_weighted_bound(weights), LIKELIHOOD)
    torch.testing.assert_close(
        effective_sample_size(weights), torch.full((3,), float(k), dtype=torch.float64)
    )


def test_bound_tightens_with_the_number_of_draws():
    torch.manual_seed(0)
    prior = Normal(torch.zeros(3, dtype=torch.float64), 1.0)
    means = []
    for k in (1, 4, 64):
        bound = importance_weighted_bound(log_weights(prior, (k, 4000)))
        assert bound.shape == (4000, 3)
        assert (bound.mean(0) < LIKELIHOOD + 3 * bound.std(0) / 4000**0.5).all()
        means.append(bound.mean(0))
    assert (means[0] < means[1]).all()
    assert (means[1] < means[2]).all()
    assert ((LIKELIHOOD - means[2]) < 0.05).all()


def test_one_draw_is_the_elbo():
    weights = torch.randn(1, 5)
    torch.testing.assert_close(importance_weighted_bound(weights), weights[0])


def test_effective_sample_size_counts_draws():
    weights = torch.tensor(
        [[0.0, 0.0, -math.inf], [0.0, -1000.0, -math.inf], [-math.inf, -1000.0, -math.inf]]
    )
    torch.testing.assert_close(effective_sample_size(weights), torch.tensor([2.0, 1.0, 0.0]))
    torch.testing.assert_close(effective_sample_size(weights[:, 0] + 500), torch.tensor(2.0))
    unequal = torch.tensor([3.0, 1.0]).log()
    assert effective_sample_size(unequal).item() == pytest.approx(16 / 10)


def test_no_draws_are_refused():
    with pytest.raises(ValueError, match=r"\(0, 3\)"):
        importance_weighted_bound(torch.zeros(0, 3))
    with pytest.raises(ValueError, match=r"shape \(\)"):
        effective_sample_size(torch.zeros(()))
