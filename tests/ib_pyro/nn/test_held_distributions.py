"""A distribution that a layer holds goes where the layer goes."""

import copy

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import transforms
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.distributions import ZeroInflatedLogUniform
from ib_pyro.nn import InformationDropout, StochasticLayer

BESIDE = {"_inv", "_cached_x_y"}


def tensors(value):
    """All tensors inside of a distribution, of whatever depth, but for what a transform remembers."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, list | tuple):
        return [t for part in value for t in tensors(part)]
    if isinstance(value, torch.distributions.Distribution | torch.distributions.Transform):
        return [t for name, part in vars(value).items() if name not in BESIDE for t in tensors(part)]
    return []


LAWS = {
    "log-normal": lambda: dist.LogNormal(0.0, 1.0),
    "gamma": lambda: dist.Gamma(2.0, 1.0),
    "expanded": lambda: dist.Gamma(2.0, 1.0).expand((3,)),
    "masked": lambda: dist.LogNormal(0.0, 1.0).mask(torch.ones(3).bool()),
    "log-uniform": lambda: ZeroInflatedLogUniform(0.5, 0.1, 10.0).expand((3,)),
    "folded": lambda: dist.FoldedDistribution(dist.Normal(0.0, 1.0)),
    "transformed": lambda: dist.TransformedDistribution(
        dist.Normal(0.0, 1.0),
        [transforms.AffineTransform(torch.tensor(1.0), torch.tensor(0.5)), transforms.ExpTransform()],
    ),
    "inverse": lambda: dist.TransformedDistribution(
        dist.Normal(0.0, 1.0),
        [transforms.AffineTransform(torch.tensor(1.0), torch.tensor(0.5), cache_size=1).inv],
    ),
    "mixture": lambda: dist.MixtureSameFamily(
        dist.Categorical(torch.ones(2)), dist.LogNormal(torch.zeros(2), torch.ones(2))
    ),
}


def layer(prior):
    return InformationDropout.linear(4, 3, activation="softplus", prior=prior)


@pytest.mark.parametrize("kind", LAWS)
def test_to_another_type_and_back(kind):
    given = LAWS[kind]()
    value = torch.tensor([0.2, 0.7, 1.5])
    expected = given.log_prob(value)
    ours = layer(given)
    assert ours.float().prior is given
    for dtype in (torch.float64, torch.bfloat16, torch.float64):
        ours.to(dtype)
        assert {t.dtype for t in tensors(ours.prior) if t.is_floating_point()} == {dtype}
        assert type(ours.prior) is type(given)
    assert {t.dtype for t in tensors(given) if t.is_floating_point()} == {torch.float32}
    torch.testing.assert_close(given.log_prob(value), expected)
    there = layer(given).double().prior.log_prob(value.double())
    assert there.dtype == torch.float64
    torch.testing.assert_close(there.float(), expected)


@pytest.mark.parametrize("kind", LAWS)
def test_to_another_device(kind):
    ours = layer(LAWS[kind]())
    if kind != "mixture":  # it draws and scores by its parts alone
        assert ours.prior.sample().shape == ours.prior.batch_shape
    with pyro.validation_enabled(False):
        ours.to("meta")
    assert {t.device.type for t in tensors(ours.prior)} == {"meta"}


def test_what_a_transform_remembers_does_not_go_along():
    ours = layer(LAWS["inverse"]())
    ours.prior.sample()
    assert any(t is not None for t in ours.prior.transforms[0].inv._cached_x_y)
    moved = ours.double().prior.transforms[0]
    assert moved.inv._cached_x_y == (None, None)
    assert moved.inv.inv == moved


def test_a_rate_is_of_the_layers_type():
    program = Bottleneck(layer(dist.LogNormal(0.1, 1.0)), nn.Linear(3, 2))
    x, y = torch.randn(5, 4), torch.zeros(5).long()
    InformationBottleneckELBO().loss(program.model, program.guide, x, y)
    program.double()
    terms = InformationBottleneckELBO().terms(program.model, program.guide, x.double(), y)
    assert terms.rate["z1"].dtype == torch.float64
    assert program.encoder.prior.base_dist.loc.dtype == torch.float64


def test_numbers_survive_where_memory_is_only_allocated():
    given = dist.LogNormal(0.1, 1.0)
    ours = layer(given).to_empty(device="cpu")
    assert torch.equal(ours.prior.base_dist.loc, given.base_dist.loc)


def test_layers_that_share_one_go_apart():
    given = dist.LogNormal(0.0, 1.0)
    first, second = layer(given).double(), layer(given)
    assert first.prior.base_dist.loc.dtype == torch.float64
    assert second.prior is given
    assert given.base_dist.loc.dtype == torch.float32


@pytest.mark.parametrize("leaf", [True, False])
def test_what_is_learned_is_not_replaced(leaf):
    loc = torch.zeros((), requires_grad=True)
    ours = layer(dist.LogNormal(loc if leaf else 2 * loc, 1.0))
    before = {name: p.dtype for name, p in ours.named_parameters()}
    with pytest.raises(
        ValueError,
        match=r"site 'z': prior, a LogNormal, .* requires a gradient.*parameter of a layer of your own",
    ):
        ours.double()
    assert {name: p.dtype for name, p in ours.named_parameters()} == before
    ours.float()


class Own(StochasticLayer):
    """A layer whose law is made of its own parameter and buffer."""

    def __init__(self):
        super().__init__(nn.Linear(4, 3))
        self.loc = nn.Parameter(torch.zeros(3))
        self.register_buffer("scale", torch.ones(3))
        self.law = dist.Normal(0.0, 1.0).expand((3,))
        self.law.loc, self.law.scale = self.loc, self.scale


@pytest.mark.parametrize("target", [torch.float64, "meta"])
def test_a_law_of_the_layers_own_parameters_keeps_them(target):
    ours = Own().to(target)
    assert ours.law.loc is ours.loc
    assert ours.law.scale is ours.scale
    assert ours.law.loc.requires_grad


def test_what_a_flow_learns_goes_along_as_a_part_of_the_layer():
    flow = transforms.batchnorm(3)
    base = dist.Normal(torch.zeros(3), 1.0)
    steps = [flow, transforms.affine_coupling(3, [4]), transforms.ExpTransform()]
    ours, value = layer(dist.TransformedDistribution(base, steps)), torch.rand(5, 3) + 0.1
    ours.prior.log_prob(value).sum().backward()
    expected = ours.eval().prior.log_prob(value)
    ours.train().double()
    assert ours.prior.transforms[0] is flow
    assert {t.dtype for t in (*ours.state_dict().values(), *tensors(ours.prior))} == {torch.float64}
    torch.testing.assert_close(ours.eval().prior.log_prob(value.double()).float(), expected)
    assert not flow.training
    assert base.loc.dtype == torch.float32
    twin = copy.deepcopy(ours)
    torch.testing.assert_close(twin.prior.log_prob(value.double()).float(), expected)
    assert twin.prior.transforms[0] is twin.prior_modules[0] is not flow
