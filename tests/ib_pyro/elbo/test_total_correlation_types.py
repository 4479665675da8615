"""What gamma weights, in half types and of single units."""

import math

import pyro.distributions as dist
import pytest
import torch

from ib_pyro.distributions import MultiplicativeLogNormal
from ib_pyro.elbo import CriticTotalCorrelation, GaussianTotalCorrelation, MinibatchTotalCorrelation
from ib_pyro.elbo.total_correlation import log_density_matrix
from ib_pyro.information import DensityRatioCritic

ESTIMATORS = {
    "gaussian": GaussianTotalCorrelation(),
    "gaussian of log z": GaussianTotalCorrelation(space="log"),
    "stratified": MinibatchTotalCorrelation(),
    "weighted": MinibatchTotalCorrelation(method="weighted", num_data=1000),
    "critic": CriticTotalCorrelation(DensityRatioCritic(1)),
}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 1, 1), (1,), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_single_unit_has_none(name, shape, dtype):
    loc = torch.randn(shape, dtype=torch.float64).to(dtype).requires_grad_()
    posterior = dist.LogNormal(loc, 0.5).to_event(len(shape) - 1)
    z = posterior.rsample()
    total = ESTIMATORS[name](posterior, z, 100)
    assert total.shape == ()
    assert total.item() == 0.0
    assert total.dtype == (dtype if dtype == torch.float64 else torch.float32)
    (gradient,) = torch.autograd.grad(total, loc)
    assert (gradient == 0).all()


def test_a_single_unit_that_is_no_number_is_none():
    z = torch.tensor([1.0, math.nan])
    assert ESTIMATORS["gaussian"](dist.Normal(z, 1.0, validate_args=False), z, 10).isnan()


@pytest.mark.parametrize("name", ["gaussian", "gaussian of log z", "stratified", "weighted"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_half_posterior_has_the_total_correlation_of_the_same_numbers(name, dtype, autocast):
    f = (torch.rand(200, 4, dtype=torch.float64) + torch.rand(200, 1, dtype=torch.float64) + 0.2).to(dtype)
    alpha = torch.full((200, 4), 0.3, dtype=dtype)
    posterior = MultiplicativeLogNormal(f, alpha).to_event(1)
    exact = MultiplicativeLogNormal(f.double(), alpha.double()).to_event(1)
    z = posterior.rsample()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        total = ESTIMATORS[name](posterior, z, 200)
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(ESTIMATORS[name](exact, z.double(), 200).item(), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    "make", [dist.Normal, dist.LogNormal, lambda a, b: dist.LogNormal(a, b).expand((40, 3)), dist.Laplace]
)
def test_pairs_are_scored_in_float32_at_least(make):
    """Of a narrow posterior in bfloat16 the variance would be off by a percent, and far pairs by nats."""
    loc, scale = torch.randn(40, 3).bfloat16(), torch.full((40, 3), 0.07).bfloat16()
    z = make(loc, scale).rsample()
    matrix = log_density_matrix(make(loc, scale).to_event(1), z)
    exact = log_density_matrix(make(loc.double(), scale.double()).to_event(1), z.double())
    assert matrix.dtype == torch.float32
    torch.testing.assert_close(matrix.double(), exact, rtol=1e-4, atol=1e-4)
