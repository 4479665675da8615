"""The rate splits into three terms that sum to it, each right on a Gaussian channel."""

import pytest
import torch
from torch.distributions import Normal

from ib_pyro.information import minibatch_total_correlation, rate_decomposition


def channel(batch, covariance, noise):
    d = covariance.shape[0]
    loc = torch.randn(batch, d, dtype=torch.float64) @ torch.linalg.cholesky(covariance).mT
    z = Normal(loc, noise).sample()
    return z, Normal(loc, noise).log_prob(z.unsqueeze(-2))


@pytest.mark.parametrize("method", ["stratified", "weighted"])
def test_terms_sum_to_the_rate_of_the_same_samples(method):
    torch.manual_seed(0)
    z, log_q = channel(20, torch.eye(4, dtype=torch.float64), 0.3)
    prior = Normal(0.5, 2.0).log_prob(z)
    terms = rate_decomposition(log_q, prior, 1000, method=method)
    rate = (torch.stack([log_q[i, i] for i in range(20)]).sum(-1) - prior.sum(-1)).mean()
    torch.testing.assert_close(terms.rate, rate)
    total = terms.mutual_information + terms.total_correlation + terms.dimension_wise_kl.sum()
    torch.testing.assert_close(total, rate)
    torch.testing.assert_close(
        terms.total_correlation, minibatch_total_correlation(log_q, 1000, method=method)
    )


def test_each_term_on_a_gaussian_channel():
    torch.manual_seed(0)
    covariance = torch.tensor([[1.0, 0.8], [0.8, 2.0]], dtype=torch.float64)
    noise, prior_scale = 0.7, 1.5
    runs = []
    for _ in range(15):
        z, log_q = channel(500, covariance, noise)
        runs.append(rate_decomposition(log_q, Normal(0.0, prior_scale).log_prob(z), 10**6))
    aggregate = covariance + noise**2 * torch.eye(2, dtype=torch.float64)
    variance = aggregate.diagonal()
    information = 0.5 * torch.logdet(aggregate / noise**2)
    correlation = 0.5 * (variance.log().sum() - torch.logdet(aggregate))
    ratio = variance / prior_scale**2
    for name, exact in {
        "mutual_information": information,
        "total_correlation": correlation,
        "dimension_wise_kl": 0.5 * (ratio - 1 - ratio.log()),
    }.items():
        values = torch.stack([getattr(run, name) for run in runs])
        # 0.015 is the bias that a batch of 500 leaves in the logarithm of the mixture.
        assert ((values.mean(0) - exact).abs() < 3 * values.std(0) / 15**0.5 + 0.015).all(), name


def test_maps_and_differentiates():
    torch.manual_seed(0)
    log_q = torch.randn(3, 4, 4, 2, dtype=torch.float64, requires_grad=True)
    prior = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    mapped = torch.vmap(lambda q, p: rate_decomposition(q, p, 9))(log_q, prior)
    for term, batched in zip(mapped, rate_decomposition(log_q, prior, 9), strict=True):
        torch.testing.assert_close(term, batched)
    assert torch.autograd.gradcheck(lambda q, p: tuple(rate_decomposition(q, p, 9)), (log_q, prior))


def test_prior_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\[\.\.\., 4, 2\].*\(4, 3\)"):
        rate_decomposition(torch.zeros(4, 4, 2), torch.zeros(4, 3), 9)
