"""Layers of a user's own, which define what is documented and nothing else."""

import copy
from collections import OrderedDict

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from pyro.nn import PyroModule, PyroParam
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO, noise_off
from ib_pyro.nn import (
    AdditiveNormal,
    BinaryDropout,
    ConstantDropout,
    GaussianDropout,
    InformationDropout,
    StochasticLayer,
)

BUILT_IN = InformationDropout, BinaryDropout, GaussianDropout, ConstantDropout, AdditiveNormal
BATCH, WIDTH_IN, WIDTH = 7, 4, 3


class LearnedPrior(StochasticLayer):
    """A prior with a parameter, a buffer and a constrained parameter."""

    def __init__(self, features=None):
        super().__init__(features or nn.Linear(WIDTH_IN, WIDTH), activation="identity")
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("loc", torch.zeros(()))
        self.factor = PyroParam(torch.tensor(1.0), dist.constraints.positive)

    def posterior(self, x):
        return dist.Normal(self.activation_of(x), 0.5)

    def prior_distribution(self, event_shape):
        scale = self.log_scale.exp() * self.factor
        return dist.Normal(self.loc, scale).expand(event_shape).to_event(len(event_shape))


def by_hand(layer, x):
    """The rate, written out from the layer's present numbers."""
    loc, scale = layer.features(x), (layer.log_scale.exp() * layer.factor).expand(WIDTH)
    q = dist.Normal(layer.loc, scale)
    return torch.distributions.kl_divergence(dist.Normal(loc, torch.full_like(loc, 0.5)), q).sum(-1)


@pytest.fixture
def program():
    return Bottleneck(LearnedPrior(), nn.Linear(WIDTH, 2)).double()


@pytest.fixture
def batch():
    return torch.randn(BATCH, WIDTH_IN, dtype=torch.float64), torch.zeros(BATCH).long()


def rate(program, batch):
    return InformationBottleneckELBO().terms(program.model, program.guide, *batch).rate["z1"]


def in_place(layer):
    with torch.no_grad():
        layer.log_scale.fill_(1.5)


def loaded(layer):
    layer.load_state_dict({**layer.state_dict(), "log_scale": torch.tensor(1.5, dtype=torch.float64)})


def frozen(layer):
    layer.requires_grad_(False)
    layer.log_scale.fill_(1.5)


def replaced(layer):
    layer.log_scale = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))


def buffer(layer):
    layer.loc.fill_(2.0)


def constrained(layer):
    layer.factor = torch.tensor(3.0, dtype=torch.float64)


def data(layer):
    layer.log_scale.data = torch.tensor(1.5, dtype=torch.float64)


def stepped(layer):
    optimiser = torch.optim.SGD([layer.log_scale], 1.0)
    layer.log_scale.grad = torch.tensor(-1.5, dtype=torch.float64)
    optimiser.step()


@pytest.mark.parametrize(
    "change",
    [in_place, loaded, frozen, replaced, buffer, constrained, data, stepped],
    ids=lambda f: f.__name__,
)
def test_the_rate_follows_whatever_the_prior_is_made_of(program, batch, change):
    before = rate(program, batch)
    torch.testing.assert_close(before, by_hand(program.encoder, batch[0]))
    change(program.encoder)
    after = rate(program, batch)
    torch.testing.assert_close(after, by_hand(program.encoder, batch[0]))
    assert not torch.allclose(before, after)


@pytest.mark.parametrize("elbo", [InformationBottleneckELBO(), Trace_ELBO(), TraceMeanField_ELBO()])
def test_every_step_has_a_graph_of_its_own(program, batch, elbo):
    gradients = []
    for _ in range(2):
        program.zero_grad()
        torch.manual_seed(0)
        elbo(program.model, program.guide)(*batch).backward()
        gradients.append([p.grad.clone() for p in program.parameters()])
    assert len(gradients[0]) == 6
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_two_layers_of_one_class_do_not_share_a_parameter_of_pyros(batch):
    """Inside a program no parameter goes by the name that it has in its layer."""
    layers = [LearnedPrior(), LearnedPrior(nn.Linear(WIDTH, WIDTH))]
    program = Bottleneck(nn.Sequential(*layers), nn.Linear(WIDTH, 2)).double()
    layers[0].factor, layers[1].factor = torch.tensor(2.0).double(), torch.tensor(5.0).double()
    svi = SVI(program.model, program.guide, pyro.optim.SGD({"lr": 1e-9}), InformationBottleneckELBO())
    svi.step(*batch)
    assert [round(layer.factor.item(), 4) for layer in layers] == [2.0, 5.0]
    stored = {id(p) for _, p in pyro.get_param_store().named_parameters()}
    assert stored == {id(p) for p in program.parameters()}


@pytest.mark.parametrize("layer", [LearnedPrior, lambda: InformationDropout.linear(WIDTH_IN, WIDTH)])
def test_only_the_program_tells_pyro_of_the_parameters_of_its_layers(layer, batch):
    """Also of those in a PyroModule, which would do so itself, at each look."""
    encoder = PyroModule[nn.Sequential](OrderedDict(code=layer()))
    program = Bottleneck(encoder, nn.Linear(WIDTH, 2)).double()
    InformationBottleneckELBO().loss(program.model, program.guide, *batch)
    assert not list(pyro.get_param_store().keys())
    svi = SVI(program.model, program.guide, pyro.optim.SGD({"lr": 1e-9}), InformationBottleneckELBO())
    svi.step(*batch)
    assert len(list(pyro.get_param_store().keys())) == len(list(program.parameters()))


def test_svi_trains_the_prior(program, batch):
    svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 0.05}), InformationBottleneckELBO())
    before = {name: value.clone() for name, value in program.named_parameters()}
    for _ in range(3):
        svi.step(*batch)
    assert all(not torch.equal(value, before[name]) for name, value in program.named_parameters())


class Uncharged(StochasticLayer):
    is_charged = False

    def __init__(self):
        super().__init__(nn.Linear(WIDTH_IN, WIDTH))

    def posterior(self, x):
        return dist.Normal(self.activation_of(x), 1.0)


class WholeEvent(StochasticLayer):
    """A posterior whose values are vectors of their own."""

    def __init__(self):
        super().__init__(nn.Linear(WIDTH_IN, WIDTH))

    def posterior(self, x):
        return dist.MultivariateNormal(self.activation_of(x), torch.eye(WIDTH))

    def prior_distribution(self, event_shape):
        return dist.MultivariateNormal(torch.zeros(event_shape), torch.eye(WIDTH))


def test_a_layer_without_a_rate_needs_no_prior():
    program = Bottleneck(Uncharged(), nn.Linear(WIDTH, 2))
    batch = torch.randn(BATCH, WIDTH_IN), torch.zeros(BATCH).long()
    terms = InformationBottleneckELBO().terms(program.model, program.guide, *batch)
    assert torch.equal(terms.rate["z1"], torch.zeros(BATCH))
    torch.testing.assert_close(terms.loss, terms.distortion.sum())


def test_an_event_of_the_posteriors_own_is_the_samples():
    program = Bottleneck(WholeEvent(), nn.Linear(WIDTH, 2))
    x = torch.randn(BATCH, WIDTH_IN)
    terms = InformationBottleneckELBO().terms(program.model, program.guide, x, torch.zeros(BATCH).long())
    torch.testing.assert_close(terms.rate["z1"], 0.5 * program.encoder.activation_of(x).square().sum(-1))


@pytest.mark.parametrize("hook", ["posterior", "prior_distribution"])
def test_a_layer_that_lacks_a_hook_says_which(hook):
    Incomplete = type("Incomplete", (WholeEvent,), {hook: getattr(StochasticLayer, hook)})  # noqa: N806
    program = Bottleneck(Incomplete(), nn.Linear(WIDTH, 2))
    with pytest.raises(NotImplementedError, match=f"Incomplete must define {hook}"):
        InformationBottleneckELBO().loss(
            program.model, program.guide, torch.randn(2, WIDTH_IN), torch.zeros(2).long()
        )


def test_another_prior_for_a_built_in_layer_is_not_kept():
    """The promise of a fixed prior was made by the class that made the prior."""

    class Mine(InformationDropout):
        def __init__(self, *branches):
            super().__init__(*branches, activation="softplus")
            self.loc = nn.Parameter(torch.zeros(()))

        def prior_distribution(self, event_shape):
            return dist.LogNormal(self.loc, 1.0).expand(event_shape).to_event(len(event_shape))

    assert Mine.has_fixed_prior is False
    program = Bottleneck(Mine(nn.Linear(WIDTH_IN, WIDTH), nn.Linear(WIDTH_IN, WIDTH)), nn.Linear(WIDTH, 2))
    elbo = Trace_ELBO()
    batch = torch.randn(BATCH, WIDTH_IN), torch.zeros(BATCH).long()
    losses = []
    for value in (0.0, 5.0):
        program.encoder.loc.data.fill_(value)
        torch.manual_seed(0)
        loss = elbo.differentiable_loss(program.model, program.guide, *batch)
        loss.backward()
        losses.append(loss.item())
    assert losses[1] > losses[0] + 10


def test_a_prior_set_on_the_layer_itself_is_not_kept():
    layer = BinaryDropout(nn.Identity())
    layer.prior_distribution = lambda shape: (
        dist.Normal(2 * layer.loc, 1.0).expand(shape).to_event(1).mask(False)
    )
    layer.loc = torch.zeros(())
    for value in (1.0, 2.0):
        layer.loc.fill_(value)
        with pyro.poutine.trace() as trace:
            layer.sample_prior(torch.Size([2]))
        assert trace.trace.nodes["z"]["fn"].mean.tolist() == [2 * value, 2 * value]


def test_the_old_name_of_the_activation_still_works():
    class Doubled(LearnedPrior):
        def activation_of(self, x):
            return 2 * super().activation_of(x)

    layer, x = Doubled(), torch.randn(2, WIDTH_IN)
    assert torch.equal(layer._activation_of(x), 2 * layer.features(x))
    assert copy.deepcopy(layer)._activation_of(x).shape == (2, WIDTH)


class Bounded(StochasticLayer):
    """A posterior on an interval, whose value a replay may put outside."""

    def __init__(self):
        super().__init__(nn.Linear(WIDTH_IN, WIDTH), name="code")

    def posterior(self, x):
        return dist.Beta(1 + self.activation_of(x), 2.0)

    def prior_distribution(self, event_shape):
        return dist.Beta(1.0, 1.0).expand(event_shape).to_event(len(event_shape))


@pytest.mark.parametrize(("value", "message"), [(2.0, "outside of its support"), (float("nan"), "NaN")])
def test_a_value_outside_of_the_posteriors_support_names_the_site(value, message):
    layer, x = Bounded(), torch.randn(2, WIDTH_IN)
    assert layer(x).shape == (2, WIDTH)
    with pytest.raises(ValueError, match=f"site 'code': .*{message}"):
        pyro.poutine.condition(layer, data={"code": torch.full((2, WIDTH), value)})(x)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("make", [LearnedPrior, *(lambda c=c: c.linear(WIDTH_IN, WIDTH) for c in BUILT_IN)])
def test_a_mode_without_gradients_leaves_nothing_behind(mode, make):
    """No prior with a graph is made inside, and none that is of no use afterwards is kept."""
    program = Bottleneck(make(), nn.Linear(WIDTH, 2))
    batch = torch.randn(BATCH, WIDTH_IN), torch.zeros(BATCH).long()
    elbo = InformationBottleneckELBO()
    with mode(), noise_off():
        program.guide(*batch)
        assert not torch.is_grad_enabled()
        loss = elbo.differentiable_loss(program.model, program.guide, *batch)
        assert not loss.requires_grad
    for _ in range(2):
        elbo.differentiable_loss(program.model, program.guide, *batch).backward()
    with mode():
        assert not elbo.differentiable_loss(program.model, program.guide, *batch).requires_grad


def test_the_prior_has_no_graph_under_no_grad():
    layer = LearnedPrior()
    seen = []
    original = layer.prior_distribution

    def watched(shape):
        seen.append(torch.is_grad_enabled())
        return original(shape)

    layer.prior_distribution = watched
    with torch.no_grad():
        layer.sample_prior(torch.Size([WIDTH]), torch.Size([2]))
    layer.sample_prior(torch.Size([WIDTH]), torch.Size([2]))
    assert seen == [False, True]
