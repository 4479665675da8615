"""A y that nobody observes may have any shape that its plates give it: several draws, or every class at once."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Predictive, TraceEnum_ELBO, config_enumerate
from torch import nn

from ib_pyro import Bottleneck
from ib_pyro.nn import InformationDropout

X = torch.randn(7, 3)


class Column(nn.Module):
    def forward(self, z):
        return z[..., :1]


@pytest.mark.parametrize(
    ("decoder", "likelihood", "shape"),
    [(nn.Linear(4, 2), "categorical", ()), (Column(), "normal", (1,))],
)
def test_several_draws_at_once(decoder, likelihood, shape):
    program = Bottleneck(nn.Linear(3, 4), decoder, likelihood)
    found = Predictive(program.model, num_samples=5, parallel=True)(X)["y"]
    assert found.shape == (5, 7, *shape)
    with pyro.plate("draws", 5, dim=-2):
        assert program.model(X).shape == (5, 7, *shape)


@pytest.mark.filterwarnings("ignore:Found plate statements in guide but not model")
@pytest.mark.parametrize("how", ["parallel", "sequential"])
def test_every_class_at_once(how):
    program = Bottleneck(InformationDropout.linear(3, 4), nn.Linear(4, 2))

    def guide(x):
        program.guide(x)
        with pyro.plate("data", len(x)):
            law = dist.Categorical(logits=torch.zeros(len(x), 2))
            pyro.sample("y", law, infer={"enumerate": how})

    assert TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(program.model, guide, X).isfinite()
    config_enumerate(Bottleneck(nn.Linear(3, 4), nn.Linear(4, 2)).model)(X)
