"""A minibatch's weights reproduce the aggregate posterior, once per joint and once per marginal."""

import itertools
import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from ib_pyro.information import (
    minibatch_aggregate_posterior,
    minibatch_log_weights,
    minibatch_total_correlation,
)


def conditionals(n, d):
    return torch.randn(n, d, dtype=torch.float64), 0.3 + torch.rand(n, d, dtype=torch.float64)


def log_matrix(z, loc, scale):
    """``log q(z_ij | x_k)``, [samples, data points, units]."""
    return Normal(loc, scale).log_prob(z.unsqueeze(-2))


def test_the_whole_set_as_a_batch_gives_the_exact_mixture():
    torch.manual_seed(0)
    n, d = 7, 3
    loc, scale = conditionals(n, d)
    z = Normal(loc, scale).sample()
    uniform = Categorical(torch.ones(n, dtype=torch.float64))
    joint = MixtureSameFamily(uniform, Independent(Normal(loc, scale), 1)).log_prob(z)
    marginals = torch.stack(
        [MixtureSameFamily(uniform, Normal(loc[:, j], scale[:, j])).log_prob(z[:, j]) for j in range(d)], -1
    )
    stratified = minibatch_aggregate_posterior(log_matrix(z, loc, scale), n)
    torch.testing.assert_close(stratified.joint, joint)
    torch.testing.assert_close(stratified.marginals, marginals)
    torch.testing.assert_close(stratified.product, marginals.sum(-1))
    torch.testing.assert_close(stratified.total_correlation, (joint - marginals.sum(-1)).mean())
    weighted = minibatch_aggregate_posterior(log_matrix(z, loc, scale), n, method="weighted")
    torch.testing.assert_close(weighted.joint, joint - math.log(n))
    torch.testing.assert_close(weighted.marginals, marginals - math.log(n))


def test_stratified_density_is_unbiased_over_all_batches():
    torch.manual_seed(0)
    n, batch, d = 6, 3, 2
    loc, scale = conditionals(n, d)
    z = Normal(loc, scale).sample()
    densities, marginals = [], []
    for others in itertools.combinations(range(1, n), batch - 1):
        index = [0, *others]
        aggregate = minibatch_aggregate_posterior(log_matrix(z[index], loc[index], scale[index]), n)
        densities.append(aggregate.joint[0].exp())
        marginals.append(aggregate.marginals[0].exp())
    exact = minibatch_aggregate_posterior(log_matrix(z, loc, scale), n)
    torch.testing.assert_close(torch.stack(densities).mean(), exact.joint[0].exp())
    torch.testing.assert_close(torch.stack(marginals).mean(0), exact.marginals[0].exp())


def test_stratified_weights_are_the_published_ones_averaged_over_the_odd_column():
    n, batch = 50, 6
    m = batch - 1
    published = []
    for odd in range(1, batch):
        row = torch.full((batch,), 1 / m, dtype=torch.float64)
        row[0], row[odd] = 1 / n, (n - m) / (n * m)
        published.append(row)
    weights = minibatch_log_weights(torch.zeros(batch, batch, 1, dtype=torch.float64), n).exp()
    torch.testing.assert_close(weights[0], torch.stack(published).mean(0))
    torch.testing.assert_close(weights.sum(-1), torch.ones(batch, dtype=torch.float64))
    assert (weights.diagonal() - 1 / n).abs().max() < 1e-15


def gaussian_population(covariance, noise, batch):
    """Conditionals N(x, noise²) with x ~ N(0, covariance), and the aggregate's total correlation."""
    d = covariance.shape[0]
    loc = torch.randn(batch, d, dtype=torch.float64) @ torch.linalg.cholesky(covariance).mT
    scale = torch.full_like(loc, noise)
    aggregate = covariance + noise**2 * torch.eye(d, dtype=torch.float64)
    total = 0.5 * (aggregate.diagonal().log().sum() - torch.logdet(aggregate))
    return log_matrix(Normal(loc, scale).sample(), loc, scale), total.item()


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_stratified_total_correlation_of_gaussians(correlation):
    torch.manual_seed(0)
    covariance = torch.tensor([[1.0, correlation], [correlation, 1.0]], dtype=torch.float64)
    estimates = []
    for _ in range(20):
        log_q, exact = gaussian_population(covariance, 0.5, 500)
        estimates.append(minibatch_total_correlation(log_q, 10**6).item())
    estimates = torch.tensor(estimates)
    # The logarithm of a mean over 500 conditionals leaves a bias of about a hundredth of a nat.
    assert abs(estimates.mean() - exact) < 3 * estimates.std() / 20**0.5 + 0.015


def test_weighted_total_correlation_is_off_by_its_documented_constant():
    torch.manual_seed(0)
    n = 10**4
    log_q, _ = gaussian_population(torch.eye(3, dtype=torch.float64), 3.0, 400)
    gap = minibatch_total_correlation(log_q, n, method="weighted") - minibatch_total_correlation(log_q, n)
    # Equal up to the own conditional's share of the mixture, 1/B here and 1/N there.
    assert gap.item() == pytest.approx((3 - 1) * math.log(n), abs=0.02)


@pytest.mark.parametrize("method", ["stratified", "weighted"])
def test_differentiates_and_maps(method):
    torch.manual_seed(0)
    log_q = torch.randn(2, 4, 4, 3, dtype=torch.float64, requires_grad=True)

    def total(log_q):
        return minibatch_total_correlation(log_q, 30, method=method)

    assert torch.autograd.gradcheck(total, (log_q,))
    torch.testing.assert_close(torch.vmap(total)(log_q), torch.stack([total(each) for each in log_q]))
    torch.testing.assert_close(torch.vmap(total)(log_q), total(log_q))


def test_bad_input_names_the_way_out():
    log_q = torch.zeros(4, 4, 2)
    with pytest.raises(ValueError, match="dataset_size 3 is below the batch size 4"):
        minibatch_total_correlation(log_q, 3)
    with pytest.raises(ValueError, match=r"\[\.\.\., B, B, d\].*\(4, 5, 2\)"):
        minibatch_total_correlation(torch.zeros(4, 5, 2), 10)
    with pytest.raises(ValueError, match="method='mss' is unknown; choose 'stratified' or 'weighted'"):
        minibatch_total_correlation(log_q, 10, method="mss")
    with pytest.raises(ValueError, match="at least two data points"):
        minibatch_total_correlation(torch.zeros(1, 1, 2), 10)
