"""The critic's optimum is the log-ratio, and training it finds the total correlation."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from ib_pyro.information import (
    DensityRatioCritic,
    critic_loss,
    critic_step,
    critic_total_correlation,
    permute_dims,
)


def correlated(rho, *, n):
    z = torch.randn(n, 2)
    return torch.stack([z[:, 0], rho * z[:, 0] + (1 - rho**2) ** 0.5 * z[:, 1]], -1)


def log_ratio(z, rho):
    joint = MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, rho], [rho, 1.0]]))
    return joint.log_prob(z) - Normal(0.0, 1.0).log_prob(z).sum(-1)


def test_permutation_keeps_marginals_and_breaks_dependence():
    torch.manual_seed(0)
    z = correlated(0.95, n=4000).reshape(4000, 1, 2)
    permuted = permute_dims(z)
    assert permuted.shape == z.shape
    torch.testing.assert_close(permuted.sort(0).values, z.sort(0).values)
    assert torch.corrcoef(permuted.flatten(1).mT)[0, 1].abs() < 0.06
    assert torch.corrcoef(z.flatten(1).mT)[0, 1] > 0.9


def test_permutation_follows_its_generator():
    z = torch.arange(60.0).reshape(20, 3)
    state = torch.get_rng_state()
    first, second = (permute_dims(z, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, permute_dims(z, generator=torch.Generator().manual_seed(4)))


def test_loss_is_stationary_and_minimal_at_the_true_log_ratio():
    torch.manual_seed(0)
    n, rho = 200_000, 0.7
    joint, product = log_ratio(correlated(rho, n=n), rho), log_ratio(torch.randn(n, 2), rho)
    slope = torch.ones((), requires_grad=True)
    shift = torch.zeros((), requires_grad=True)
    loss = critic_loss(slope * joint + shift, slope * product + shift)
    gradients = torch.stack(torch.autograd.grad(loss, (slope, shift)))
    assert gradients.abs().max() < 0.005
    for a, b in [(0.5, 0.0), (1.5, 0.0), (1.0, 0.3), (1.0, -0.3)]:
        assert critic_loss(a * joint + b, a * product + b) > loss + 1e-3


def test_loss_of_a_blind_critic_is_log_two():
    assert critic_loss(torch.zeros(3), torch.zeros(5)).item() == pytest.approx(math.log(2))
    assert critic_loss(torch.full((3,), 30.0), torch.full((3,), -30.0)) < 1e-6


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_trained_critic_finds_the_total_correlation(rho):
    torch.manual_seed(0)
    critic = DensityRatioCritic(2, hidden=(64, 64))
    optimizer = torch.optim.Adam(critic.parameters(), lr=2e-3)
    for _ in range(700):
        loss = critic_step(critic, optimizer, correlated(rho, n=512))
    estimate = critic_total_correlation(critic, correlated(rho, n=20_000)).item()
    assert estimate == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.06)
    assert not loss.requires_grad


def test_total_correlation_trains_z_and_leaves_the_critic_alone():
    torch.manual_seed(0)
    critic = DensityRatioCritic(6)
    z = torch.randn(10, 2, 3, requires_grad=True)
    total = critic_total_correlation(critic, z)
    torch.testing.assert_close(total, critic(z).mean())
    total.backward()
    assert z.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in critic.parameters())
    assert all(parameter.requires_grad for parameter in critic.parameters())


def test_step_trains_the_critic_and_leaves_z_alone():
    torch.manual_seed(0)
    critic = DensityRatioCritic(2, hidden=())
    before = [parameter.clone() for parameter in critic.parameters()]
    z = torch.randn(32, 2, requires_grad=True)
    with torch.no_grad():
        critic_step(critic, torch.optim.SGD(critic.parameters(), lr=0.1), z)
    assert z.grad is None
    assert all(not torch.equal(*pair) for pair in zip(before, critic.parameters(), strict=True))


def test_gradient_of_the_total_correlation_maps_and_matches_finite_differences():
    torch.manual_seed(0)
    critic = DensityRatioCritic(2, hidden=(5,)).double()
    z = torch.randn(2, 6, 2, dtype=torch.float64, requires_grad=True)
    mapped = torch.vmap(lambda each: critic_total_correlation(critic, each))(z)
    torch.testing.assert_close(mapped, torch.stack([critic(each).mean() for each in z]))
    assert torch.autograd.gradcheck(lambda each: critic_total_correlation(critic, each), (z[0],))


def test_a_critic_without_units_is_refused():
    with pytest.raises(ValueError, match="num_units must be at least 1; got 0"):
        DensityRatioCritic(0)
