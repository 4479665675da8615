"""Estimates from half types, under autocast and with large offsets are those of float64, up to the data's rounding."""

import math

import pytest
import torch
from torch import nn

from ib_pyro.information import (
    DensityRatioCritic,
    critic_loss,
    critic_step,
    critic_total_correlation,
    effective_sample_size,
    gaussian_total_correlation,
    importance_weighted_bound,
    info_nce_lower_bound,
    leave_one_out_upper_bound,
    minibatch_aggregate_posterior,
    minibatch_log_weights,
    minibatch_total_correlation,
    predictive_information_lower_bound,
    rate_decomposition,
)

HALF = [torch.bfloat16, torch.float16]
RESULT = {torch.bfloat16: torch.float32, torch.float16: torch.float32, torch.float32: torch.float32}
RESULT[torch.float64] = torch.float64


def correlated(n=500, correlation=0.8):
    a, b = torch.randn(2, n, 1, dtype=torch.float64)
    return torch.cat([a, correlation * a + math.sqrt(1 - correlation**2) * b], 1)


@pytest.fixture(params=[False, True], ids=["plain", "autocast"])
def around(request):
    """Nothing, or the automatic casting of a mixed-precision run."""
    with torch.autocast("cpu", torch.bfloat16, enabled=request.param):
        yield


@pytest.mark.usefixtures("around")
class TestGaussian:
    @pytest.mark.parametrize("dtype", RESULT)
    @pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (5.0, 0.5), (-3.0, 2.0)])
    def test_every_type(self, dtype, offset, scale):
        z = correlated()
        total = gaussian_total_correlation((offset + scale * z).to(dtype))
        assert total.dtype == RESULT[dtype]
        expected = gaussian_total_correlation(z).item()
        assert total.item() == pytest.approx(expected, rel=0.02 if dtype in HALF else 1e-5)

    @pytest.mark.parametrize("shrinkage", [0.0, 0.1])
    def test_large_offsets(self, shrinkage):
        """In float32 a step at 1e4 is 1e-3, a tenth of the standard deviation: noise of 0.03 of it, no more."""
        z = correlated(2000)
        total = gaussian_total_correlation((1e4 + 1e-2 * z).float(), shrinkage=shrinkage).item()
        assert total == pytest.approx(gaussian_total_correlation(z, shrinkage=shrinkage).item(), rel=0.02)
        rounded = (1e4 + 1e-2 * z).float().double()
        assert total == pytest.approx(
            gaussian_total_correlation(rounded, shrinkage=shrinkage).item(), rel=1e-6
        )

    def test_an_offset_of_a_million_deviations_in_float64(self):
        z = correlated(2000)
        moved = gaussian_total_correlation(1e6 + z)
        torch.testing.assert_close(moved, gaussian_total_correlation(z), rtol=1e-8, atol=0)

    @pytest.mark.parametrize("dtype", [*HALF, torch.float32])
    def test_dead_and_collinear_units(self, dtype):
        z = correlated().to(dtype)
        dead = z.new_full((500, 3), 0.3)
        dead[:, :2] = z
        collinear = dead.clone()
        collinear[:, 2] = 3 * z[:, 0] + 1
        dead.requires_grad_()
        total = gaussian_total_correlation(dead)
        total.backward()
        torch.testing.assert_close(total, gaussian_total_correlation(z))
        assert dead.grad.dtype == dtype
        assert dead.grad.isfinite().all()
        assert (dead.grad[:, 2] == 0).all()
        assert gaussian_total_correlation(collinear) == math.inf

    def test_a_strong_correlation_is_no_collinearity(self):
        z = correlated(4000, 0.99)
        total = gaussian_total_correlation(z.bfloat16())
        assert total.item() == pytest.approx(gaussian_total_correlation(z).item(), rel=0.02)


def test_integers_are_taken_as_numbers():
    z = torch.randint(0, 256, (100, 3), dtype=torch.uint8)
    torch.testing.assert_close(gaussian_total_correlation(z), gaussian_total_correlation(z.float()))


@pytest.fixture
def log_q():
    """``log q(z_i | x_k)`` of 40 Gaussian posteriors of 30 units, ``[i, k, j]``."""
    loc = torch.randn(40, 30, dtype=torch.float64)
    z = loc + 0.5 * torch.randn(40, 30, dtype=torch.float64)
    return torch.distributions.Normal(loc, 0.5).log_prob(z.unsqueeze(1))


ESTIMATES = {
    "minibatch": lambda log_q: minibatch_total_correlation(log_q, 100),
    "weighted": lambda log_q: minibatch_total_correlation(log_q, 100, method="weighted"),
    "joint": lambda log_q: minibatch_aggregate_posterior(log_q, 100).joint,
    "weights": lambda log_q: minibatch_log_weights(log_q, 100),
    "decomposed": lambda log_q: rate_decomposition(log_q, -log_q[0], 100).rate,
    "dimension-wise": lambda log_q: rate_decomposition(log_q, -log_q[0], 100).dimension_wise_kl,
    "information": lambda log_q: rate_decomposition(log_q, -log_q[0], 100).mutual_information,
    "lower bound": lambda log_q: info_nce_lower_bound(log_q[..., 0]),
    "upper bound": lambda log_q: leave_one_out_upper_bound(log_q[..., 0]),
    "predictive": lambda log_q: predictive_information_lower_bound(log_q[..., 0], 2.3),
    "importance": lambda log_q: importance_weighted_bound(log_q[..., 0]),
    "sample size": lambda log_q: effective_sample_size(log_q[..., 0]),
    "critic's loss": lambda log_q: critic_loss(log_q, -log_q),
}


@pytest.mark.parametrize("name", ESTIMATES)
@pytest.mark.parametrize("dtype", RESULT)
@pytest.mark.usefixtures("around")
def test_estimates_are_computed_in_float32_at_least(name, dtype, log_q):
    estimate = ESTIMATES[name]
    value = estimate(log_q.to(dtype))
    assert value.dtype == RESULT[dtype]
    # Of the same rounded numbers: only what is done with them may not round again.
    exact = estimate(log_q.to(dtype).double())
    torch.testing.assert_close(value.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [*HALF, torch.float32, torch.float64])
@pytest.mark.parametrize("critic_type", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.usefixtures("around")
def test_a_critic_is_heard_in_float32_at_least(dtype, critic_type):
    critic = DensityRatioCritic(3, hidden=(16,))
    z = torch.randn(50, 3, dtype=torch.float64).to(dtype).requires_grad_()
    exact = DensityRatioCritic(3, hidden=(16,)).double()
    exact.load_state_dict({name: value.to(critic_type) for name, value in critic.state_dict().items()})
    critic = critic.to(critic_type)
    total = critic_total_correlation(critic, z)
    assert total.dtype == RESULT[critic_type]
    torch.testing.assert_close(
        total.double(), critic_total_correlation(exact, z.double()), rtol=1e-4, atol=1e-6
    )
    total.backward()
    assert z.grad.dtype == dtype
    assert z.grad.isfinite().all()
    assert all(parameter.grad is None for parameter in critic.parameters())
    loss = critic_step(critic, torch.optim.SGD(critic.parameters(), 0.1), z)
    assert loss.dtype == RESULT[critic_type]
    assert loss.isfinite()


def test_a_critic_without_parameters():
    assert (
        critic_total_correlation(nn.Flatten(0), torch.ones(5, 1, dtype=torch.bfloat16)).dtype == torch.float32
    )


@pytest.mark.usefixtures("around")
def test_a_device_without_float64_keeps_the_digits_of_float32(monkeypatch):
    """As on MPS: offsets cancel before anything is squared, and autocast does not reach the product."""
    z = correlated(2000)
    rounded = (1e4 + 1e-2 * z).float()
    expected = gaussian_total_correlation(rounded.double()).item()
    monkeypatch.setattr("ib_pyro.information.gaussian_estimate.widest", lambda device: torch.float32)
    assert gaussian_total_correlation(rounded).item() == pytest.approx(expected, rel=2e-5)
    dead = torch.full((2000, 3), 1e4 / 3)
    dead[:, :2] = z
    torch.testing.assert_close(gaussian_total_correlation(dead), gaussian_total_correlation(z.float()))
