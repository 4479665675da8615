"""A loss is a sum over a batch, which half types have not the digits for."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.elbo import CapacityELBO
from ib_pyro.nn import InformationDropout

SIZE = 3001


def side(loc, dtype, observe=False):
    def run():
        with pyro.plate("data", SIZE):
            zeros = torch.zeros(SIZE, dtype=dtype)
            z = pyro.sample("z", dist.Normal(zeros + loc, torch.ones_like(zeros)))
            if observe:
                pyro.sample("y", dist.Normal(z.detach() * 0, torch.ones_like(zeros)), obs=zeros)

    return run


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("elbo", [InformationBottleneckELBO(), CapacityELBO(0.25)])
def test_the_loss_is_the_sum_of_its_terms_in_single_precision(dtype, elbo):
    terms = elbo.terms(side(0.0, dtype, observe=True), side(0.75, dtype))
    rate, distortion = terms.rate["z"].double(), terms.distortion.double()
    target = 0.25 if isinstance(elbo, CapacityELBO) else 0.0
    expected = distortion.sum() + (rate.sum() - target * SIZE)
    assert terms.loss.dtype == torch.float32
    assert terms.loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_program_in_that_type_is_trained(dtype):
    program = Bottleneck(InformationDropout.linear(4, 5), nn.Linear(5, 3)).to(dtype)
    x, y = torch.rand(6, 4, dtype=dtype), torch.arange(6) % 3
    loss = InformationBottleneckELBO(0.1)(program.model, program.guide)(x, y)
    loss.backward()
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert all(p.grad.dtype == dtype and p.grad.isfinite().all() for p in program.parameters())
