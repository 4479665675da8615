"""The contract of layers: this package's keep it, and each way to break it has a sentence."""

import subprocess
import sys

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import transforms
from torch import nn
from torch.distributions import register_kl

from ib_pyro.nn import (
    AdditiveNormal,
    BinaryDropout,
    ConstantDropout,
    GaussianDropout,
    InformationDropout,
    StochasticLayer,
)
from ib_pyro.priors import FlowPrior, MixturePrior
from ib_pyro.testing import check_layer
from models.discrete_ib import CategoricalCode

OWN = {
    "information": (lambda: InformationDropout.linear(4, 3), {}),
    "information, gate": (lambda: InformationDropout.linear(4, 3, gate=0.3), {}),
    "information, log-normal": (
        lambda: InformationDropout.linear(4, 3, activation="softplus", prior="log-normal"),
        {},
    ),
    "information, a prior of its own": (
        lambda: InformationDropout.linear(4, 3, activation="softplus", prior=dist.LogNormal(0.0, 1.0)),
        {},
    ),
    "information, no atom": (lambda: InformationDropout.linear(4, 3, atom="ignore", unit_mean=True), {}),
    "information, batch norm": (lambda: InformationDropout.linear(4, 3, batch_norm=True), {}),
    "information, convolution": (lambda: InformationDropout.conv2d(2, 3, 3), {"x": (5, 2, 6, 6)}),
    "constant": (lambda: ConstantDropout.linear(4, 3), {}),
    "gaussian": (lambda: GaussianDropout.linear(4, 3), {"tolerance": 0.01}),
    "gaussian, by units": (
        lambda: GaussianDropout.linear(4, 3, approximation="kingma", units=3),
        {"tolerance": 0.01},
    ),
    "binary": (lambda: BinaryDropout.linear(4, 3), {}),
    "binary, named": (lambda: BinaryDropout.linear(4, 3, name="hidden"), {}),
    "additive": (lambda: AdditiveNormal.linear(4, 3), {}),
    "additive, learned mixture": (
        lambda: AdditiveNormal.linear(4, 3, prior=MixturePrior(3, 4)),
        {"closed_form": False},
    ),
    "additive, flow": (
        lambda: AdditiveNormal.linear(4, 3, prior=FlowPrior(3, [transforms.affine_coupling(3, [5])])),
        {"closed_form": False},
    ),
    "additive, a flow as it is": (
        lambda: AdditiveNormal.linear(
            4, 3, prior=dist.TransformedDistribution(dist.Normal(torch.zeros(3), 1.0), [transforms.spline(3)])
        ),
        {"closed_form": False},
    ),
    "gaussian, learned mixture": (
        lambda: GaussianDropout.linear(4, 3, activation="softplus", prior=MixturePrior(3, 4)),
        {"closed_form": False},
    ),
    "information, learned mixture": (
        lambda: InformationDropout.linear(
            4, 3, activation="softplus", prior=MixturePrior(3, 4, family="log-normal")
        ),
        {"closed_form": False},
    ),
    "categorical": (lambda: CategoricalCode(nn.Linear(4, 3), 3), {"noise_free": False}),
    "categorical, without a closed form": (
        lambda: CategoricalCode(nn.Linear(4, 3), 3),
        {"noise_free": False, "closed_form": False},
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", OWN)
def test_the_layers_of_this_package_keep_it(kind, dtype):
    factory, options = OWN[kind]
    options = dict(options)
    check_layer(factory, torch.randn(options.pop("x", (5, 4)), dtype=dtype), **options)


class Law(dist.Normal):
    """Additive noise that can be switched off."""

    noise_free = property(lambda self: self.loc)

    def expand(self, batch_shape, _instance=None):
        return super().expand(batch_shape, self._get_checked_instance(type(self), _instance))


class Kept(StochasticLayer):
    """A layer that keeps the contract, with a learned prior."""

    law = Law

    def __init__(self):
        super().__init__(nn.Linear(4, 3), activation="identity")
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("center", torch.ones(()))

    def posterior(self, x):
        return self.law(self.activation_of(x), 0.5)

    def prior_distribution(self, event_shape):
        return dist.Normal(self.center, self.log_scale.exp()).expand(event_shape).to_event(len(event_shape))


class TwoSites(Kept):
    def forward(self, x):
        pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        return super().forward(x)


class Transformed(Kept):
    def forward(self, x):
        return super().forward(x).exp()


class OneRow(Kept):
    def posterior(self, x):
        return self.law(self.activation_of(x).mean(0, keepdim=True), 0.5)


class Elementwise(Kept):
    def prior_distribution(self, event_shape):
        return super().prior_distribution(event_shape).base_dist


class Silent(Kept):
    def posterior(self, x):
        return self.law(self.activation_of(x), 1e-30)


class AlwaysOn(Kept):
    law = dist.Normal


class FixedParameter(Kept):
    has_fixed_prior = True


class FixedBuffer(Kept):
    has_fixed_prior = True

    def __init__(self):
        super().__init__()
        del self.log_scale
        self.log_scale = torch.zeros(())

    def prior_distribution(self, event_shape):
        scale = torch.ones_like(self.center)
        return dist.Normal(1 * self.center, scale).expand(event_shape).to_event(len(event_shape))


class Detached(Kept):
    def prior_distribution(self, event_shape):
        prior = super().prior_distribution(event_shape).base_dist
        return dist.Normal(prior.loc, prior.scale.detach()).to_event(len(event_shape))


class Scores(Law):
    has_rsample = False

    def sample(self, sample_shape=torch.Size()):  # noqa: B008
        return super().sample(sample_shape)


class OwnGraph(Kept):
    def prior_distribution(self, event_shape):
        with torch.enable_grad():
            return super().prior_distribution(event_shape)


class TwiceTheGraph(Kept):
    def __init__(self):
        super().__init__()
        object.__setattr__(self, "made", {})

    def prior_distribution(self, event_shape):
        if event_shape not in self.made:
            self.made[event_shape] = super().prior_distribution(event_shape)
        return self.made[event_shape]


class Unregistered(Law):
    pass


class Mistaken(Law):
    pass


class Left(Law):
    """A density that depends on the second dimension from the left."""

    def log_prob(self, value):
        return super().log_prob(value) + value[:, :1].square()


@register_kl(Left, dist.Normal)
@register_kl(Unregistered, dist.Normal)
def _no_kl(p, q):
    raise NotImplementedError("none")


@register_kl(Mistaken, dist.Normal)
def _kl_with_a_wrong_constant(p, q):
    return torch.distributions.kl_divergence(dist.Normal(p.loc, p.scale), q) + 0.5


class WithoutKL(Kept):
    law = Unregistered


class WrongKL(Kept):
    law = Mistaken


class Copies(Law):
    """Noise of the shape that it was built with, whatever it is expanded to."""

    def rsample(self, sample_shape=torch.Size()):  # noqa: B008
        noise = torch.randn(self.loc.shape[-2:], dtype=self.loc.dtype)
        return self.loc.expand(self._extended_shape(sample_shape)) + self.scale * noise


class OneDraw(Kept):
    law = Copies


class FromTheLeft(Kept):
    def posterior(self, x):
        return Left(self.activation_of(x), 0.5)


class StaysBehind(Kept):
    def __init__(self):
        super().__init__()
        del self.center
        self.center = torch.ones(())


class Forgets(Kept):
    def __init__(self):
        super().__init__()
        self.spread = torch.rand(()).item()

    def posterior(self, x):
        return self.law(self.activation_of(x), 0.1 + self.spread)


class LosesItsName(Kept):
    def __init__(self):
        super().__init__()
        self.name = "hidden"

    def __deepcopy__(self, memo):
        twin = type(self)()
        twin.load_state_dict(self.state_dict())
        twin.name = None
        return twin.train(self.training)


class Lambda(Kept):
    def __init__(self):
        super().__init__()
        self.scale_of = lambda f: torch.full_like(f, 0.5)


class RenamesItself(Kept):
    def posterior(self, x):
        self.name = self.site_name
        return super().posterior(x)


class ExportsAnotherShape(Law):
    def noise_variables(self, z):
        return {"n": (torch.zeros(2, 2), "noise")}


class WrongVariables(Kept):
    law = ExportsAnotherShape


class ExportsAtRandom(Law):
    def noise_variables(self, z):
        return {"n": (torch.randn(z.shape), "noise")}


class RandomVariables(Kept):
    law = ExportsAtRandom


BROKEN = {
    TwoSites: r"emits the sites \['scale', 'z'\].*exactly one",
    Transformed: "what a call returns is not the value of its site",
    OneRow: r"batch shape \(1, 3\).*a row for each sample",
    Elementwise: r"prior_distribution\(\(3,\)\) has batch shape \(3,\).*to_event",
    Silent: "two draws of z are the same",
    AlwaysOn: "noise_off leaves the noise on.*NoisyActivation",
    FixedParameter: "no gradient reaches its parameter log_scale",
    Detached: "no gradient reaches its parameter log_scale",
    TwiceTheGraph: "the second step of training fails.*backward through the graph a second time",
    OwnGraph: "under no_grad the posterior or the prior has a graph",
    FixedBuffer: "its prior does not follow its parameters and buffers.*has_fixed_prior",
    WithoutKL: r"KL\(Unregistered \|\| Normal\) is not registered.*@register_kl\(Unregistered, Normal\)",
    WrongKL: r"KL\(Mistaken \|\| Normal\) is .* nats, but the mean of log p - log q",
    OneDraw: "vectorised particles are copies of one draw",
    StaysBehind: r"after .to\(torch.float64\) the prior's loc is torch.float32.*buffers",
    Forgets: "a new layer with its state_dict draws something else",
    LosesItsName: "copy.deepcopy makes of it emits the site 'z' instead of 'hidden'",
    Lambda: "pickle fails",
    RenamesItself: "its site in two programs is .* leave self.name alone",
    RandomVariables: "to_arviz has another z1_n than noise_variables",
    WrongVariables: r"noise_variables gives n of shape \(2, 2\)",
}


def test_a_layer_of_ones_own_keeps_it():
    check_layer(Kept, torch.randn(5, 4))


@pytest.mark.parametrize("kind", [kind.__name__ for kind in BROKEN])
def test_each_way_to_break_it_has_a_sentence(kind):
    layer = next(layer for layer in BROKEN if layer.__name__ == kind)
    with pytest.raises(AssertionError, match=f"^{kind}: .*{BROKEN[layer]}"):
        check_layer(layer, torch.randn(5, 4))


def test_a_density_that_counts_from_the_left_is_found():
    with pytest.raises(AssertionError, match="side by side have the loss .* from the right"):
        check_layer(FromTheLeft, torch.randn(5, 4), closed_form=False)


def test_a_factory_must_make_layers():
    layer = Kept()
    with pytest.raises(AssertionError, match="the same layer twice"):
        check_layer(lambda: layer, torch.randn(5, 4))
    with pytest.raises(AssertionError, match="returns a Linear"):
        check_layer(lambda: nn.Linear(4, 3), torch.randn(5, 4))
    with pytest.raises(AssertionError, match="cannot be made: TypeError"):
        check_layer(InformationDropout.linear, torch.randn(5, 4))


def test_it_leaves_no_trace():
    state, x = torch.get_rng_state(), torch.randn(5, 4)
    torch.set_rng_state(state)
    with pyro.validation_enabled(False), torch.no_grad():
        check_layer(Kept, x)
        with pytest.raises(AssertionError):
            check_layer(Forgets, x)
        assert not torch.is_grad_enabled()
        assert not dist.Normal(0.0, 1.0)._validate_args
    assert torch.equal(torch.get_rng_state(), state)
    assert not list(pyro.get_param_store())


def test_it_needs_no_test_runner():
    code = "import sys, ib_pyro.testing; print('pytest' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )
