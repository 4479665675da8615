"""Automatic guides, easy guides, messengers and flows as guides."""

from functools import partial

import pyro
import torch
from pyro import distributions as dist
from pyro import poutine
from pyro.contrib.easyguide import EasyGuide, easy_guide
from pyro.distributions.transforms import (
    affine_autoregressive,
    affine_coupling,
    conditional_affine_coupling,
    planar,
    spline,
)
from pyro.infer import autoguide
from pyro.nn import PyroModule

from tests.ib_pyro.differential.case import Leaves, program

SECTION = "Guides"
X = torch.tensor([0.3, -1.2, 0.8, 0.1], dtype=torch.float64)


def real_model():
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    offset = pyro.sample("offset", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("data", 4):
        z = pyro.sample("z", dist.Normal(slope + offset.sum(-1), 1.0))
        pyro.sample("x", dist.Normal(z, 0.5), obs=X)


def constrained_model():
    rate = pyro.sample("rate", dist.LogNormal(0.0, 0.5))
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
    with pyro.plate("data", 4):
        scale = pyro.sample("scale", dist.Gamma(torch.tensor(2.0), torch.tensor(1.0)))
        pyro.sample("x", dist.Normal(rate * weights[..., 0], scale), obs=X)


AUTOMATIC = {
    "AutoNormal": autoguide.AutoNormal,
    "AutoDelta": autoguide.AutoDelta,
    "AutoDiagonalNormal": autoguide.AutoDiagonalNormal,
    "AutoMultivariateNormal": autoguide.AutoMultivariateNormal,
    "AutoLowRankMultivariateNormal": partial(autoguide.AutoLowRankMultivariateNormal, rank=2),
    "AutoIAFNormal": partial(autoguide.AutoIAFNormal, hidden_dim=[8], num_transforms=2),
    "AutoNormalizingFlow": lambda m: autoguide.AutoNormalizingFlow(
        m, partial(affine_coupling, hidden_dims=[4])
    ),
    "AutoLaplaceApproximation, before laplace_approximation": autoguide.AutoLaplaceApproximation,
    "AutoGaussian, dense": partial(autoguide.AutoGaussian, backend="dense"),
    "AutoNormal with another initial scale": partial(autoguide.AutoNormal, init_scale=0.5),
    "AutoNormal initialised by the prior's mean": partial(
        autoguide.AutoNormal, init_loc_fn=autoguide.init_to_mean
    ),
}
for name, kind in AUTOMATIC.items():
    for suffix, model in (("real sites", real_model), ("constrained sites", constrained_model)):
        if "mean" in name and model is constrained_model:
            continue

        @program(SECTION, f"{name}, {suffix}", nesting=None)
        def _(new: Leaves, kind=kind, model=model):
            return model, kind(model)


@program(SECTION, "AutoLaplaceApproximation, the Gaussian at the mode", nesting=None)
def _(new: Leaves):
    guide = autoguide.AutoLaplaceApproximation(real_model)
    guide()
    return real_model, guide.laplace_approximation()


CONDITIONALS = ("normal", "mvn", "delta")
for conditional in CONDITIONALS:
    for dependency in ("linear", None):

        @program(
            SECTION,
            f"AutoStructured, {conditional} conditionals, {dependency or 'no'} dependencies",
            nesting=None,
        )
        def _(new: Leaves, conditional=conditional, dependency=dependency):
            options = {} if dependency else {"dependencies": {}}
            conditionals = dict.fromkeys(("slope", "offset", "z"), conditional)
            return real_model, autoguide.AutoStructured(real_model, conditionals=conditionals, **options)


@program(SECTION, "AutoStructured, mixed conditionals, chosen dependencies, constrained sites", nesting=None)
def _(new: Leaves):
    guide = autoguide.AutoStructured(
        constrained_model,
        conditionals={"rate": "delta", "weights": "mvn", "scale": "normal"},
        dependencies={"scale": {"weights": "linear"}},
    )
    return constrained_model, guide


@program(SECTION, "AutoStructured, a conditional and a dependency of one's own", nesting=None)
def _(new: Leaves):
    width, matrix = new(), new(4, 2)

    def conditional():
        noise = dist.Normal(torch.zeros(4), width.exp()).to_event(1)
        return pyro.sample("z_own", noise, infer={"is_auxiliary": True})

    guide = autoguide.AutoStructured(
        real_model,
        conditionals={"slope": "normal", "offset": "normal", "z": conditional},
        dependencies={"z": {"offset": lambda value: matrix @ value}},
    )
    return real_model, guide


@program(SECTION, "AutoGuideList, a part normal, a part a point", nesting=None)
def _(new: Leaves):
    guide = autoguide.AutoGuideList(real_model)
    guide.append(autoguide.AutoMultivariateNormal(poutine.block(real_model, expose=["slope", "offset"])))
    guide.append(autoguide.AutoDelta(poutine.block(real_model, expose=["z"])))
    return real_model, guide


@program(SECTION, "AutoGuideList with a guide of one's own", nesting=None)
def _(new: Leaves):
    loc, guide = new(), autoguide.AutoGuideList(real_model)
    guide.append(autoguide.AutoNormal(poutine.block(real_model, hide=["slope"])))
    guide.append(lambda: {"slope": pyro.sample("slope", dist.Normal(loc, 0.5))})
    return real_model, guide


@program(SECTION, "AutoDiscreteParallel", refused=r"site 'k'.*not reparameterised", nesting=None)
def _(new: Leaves):
    def model():
        k = pyro.sample("k", dist.Categorical(torch.ones(3)))
        pyro.sample("x", dist.Normal(k.double(), 1.0), obs=torch.tensor(0.5))

    def once(*args):
        return pyro.infer.config_enumerate(autoguide.AutoDiscreteParallel(model))(*args)

    return model, once


MESSENGERS = {
    "AutoNormalMessenger": autoguide.AutoNormalMessenger,
    "AutoHierarchicalNormalMessenger": autoguide.AutoHierarchicalNormalMessenger,
}
for name, kind in MESSENGERS.items():
    for suffix, model in (("real sites", real_model), ("constrained sites", constrained_model)):

        @program(SECTION, f"{name}, {suffix}", closed_form="(slope|rate)", nesting=None)
        def _(new: Leaves, kind=kind, model=model):
            return model, kind(model)


@program(SECTION, "AutoRegressiveMessenger", closed_form="z0", nesting=None)
def _(new: Leaves):
    def model():
        z = torch.zeros(())
        for t in range(3):
            z = pyro.sample(f"z{t}", dist.Normal(z, 1.0))
            pyro.sample(f"x{t}", dist.Normal(z, 0.5), obs=X[t])

    return model, autoguide.AutoRegressiveMessenger(model)


@program(SECTION, "a messenger of one's own, which sees the prior", nesting=None)
def _(new: Leaves):
    loc = new()

    class Near(autoguide.AutoMessenger):
        def get_posterior(self, name, prior):
            return dist.Normal(prior.mean + loc, 0.5).to_event(prior.event_dim)

    return real_model, Near(real_model)


class Grouped(EasyGuide):
    """One joint normal for two sites, a point for a third."""

    def __init__(self, model, loc, factor):
        super().__init__(model)
        self.loc, self.factor = loc, factor

    def guide(self):
        group = self.group(match="slope|offset")
        scale = self.factor.tril() + 0.5 * torch.eye(3)
        group.sample("joint", dist.MultivariateNormal(self.loc, scale_tril=scale))
        with self.plate("data", 4):
            self.map_estimate("z")


@program(SECTION, "EasyGuide, a group and a map_estimate", nesting=None)
def _(new: Leaves):
    return real_model, Grouped(real_model, new(3), new(3, 3))


@program(SECTION, "EasyGuide over constrained sites, a group and a site of its own", nesting=None)
def _(new: Leaves):
    loc, own = new(3), new(4)

    def model():
        rate = pyro.sample("rate", dist.LogNormal(0.0, 0.5))
        slopes = pyro.sample("slopes", dist.Beta(2 * torch.ones(2), 1.0).to_event(1))
        with pyro.plate("data", 4):
            scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
            pyro.sample("x", dist.Normal(rate * slopes[..., 0], scale), obs=X)

    @easy_guide(model)
    def guide(self):
        group = self.group(match="rate|slopes")
        group.sample("joint", dist.Normal(loc, 0.3).to_event(1))
        with self.plate("data", 4):
            pyro.sample("scale", dist.LogNormal(own, 0.3))

    return model, guide


@program(SECTION, "AutoNormal inside of a PyroModule", nesting=None)
def _(new: Leaves):
    class Both(PyroModule):
        def __init__(self):
            super().__init__()
            self.auto = autoguide.AutoNormal(real_model)

        def forward(self):
            return self.auto()

    return real_model, Both()


def vector_model():
    with pyro.plate("data", 4):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z.sum(-1), 0.5), obs=X)


FLOWS = {
    "an affine transform": lambda new: dist.transforms.AffineTransform(new(2), 1.5, event_dim=1),
    "a planar flow": lambda new: planar(2),
    "an inverse autoregressive flow": lambda new: affine_autoregressive(2, hidden_dims=[6]),
    "a coupling": lambda new: affine_coupling(2, hidden_dims=[4]),
    "a spline": lambda new: spline(2, count_bins=4, bound=3.0),
}
for name, flow in FLOWS.items():

    @program(SECTION, f"TransformedDistribution through {name}", closed_form="z")
    def _(new: Leaves, flow=flow):
        loc, transform = new(4, 2), flow(new)

        def guide():
            with pyro.plate("data", 4):
                base = dist.Normal(loc, 0.5).to_event(1)
                pyro.sample("z", dist.TransformedDistribution(base, [transform]))

        if isinstance(transform, torch.nn.Module):
            new.tensors += list(transform.parameters())
        return vector_model, guide


@program(SECTION, "ConditionalTransform of the data", closed_form="z", nesting=None)
def _(new: Leaves):
    flow = conditional_affine_coupling(2, 1, hidden_dims=[4])
    new.tensors += list(flow.parameters())

    def guide():
        with pyro.plate("data", 4):
            base = dist.Normal(torch.zeros(4, 2), 1.0).to_event(1)
            pyro.sample("z", dist.ConditionalTransformedDistribution(base, [flow]).condition(X.unsqueeze(-1)))

    return vector_model, guide


@program(SECTION, "both sides through the same transform: log-normal by hand")
def _(new: Leaves):
    loc = new(4)

    def side(loc):
        return dist.TransformedDistribution(dist.Normal(loc, 0.5), [dist.transforms.ExpTransform()])

    def model():
        with pyro.plate("data", 4):
            z = pyro.sample("z", side(torch.zeros(4)))
            pyro.sample("x", dist.Normal(z, 0.5), obs=X)

    def guide():
        with pyro.plate("data", 4):
            pyro.sample("z", side(loc))

    return model, guide


@program(SECTION, "a guide without reparameterisation", refused=r"site 'z': .*not reparameterised")
def _(new: Leaves):
    def guide():
        with pyro.plate("data", 4):
            pyro.sample("z", dist.testing.fakes.NonreparameterizedNormal(torch.zeros(4, 2), 1.0).to_event(1))

    return vector_model, guide


@program(SECTION, "detached draws: has_rsample_(False)", refused=r"site 'z': .*not reparameterised")
def _(new: Leaves):
    def run(law, observed):
        z = pyro.sample("z", law)
        if observed:
            pyro.sample("x", dist.Normal(z, 0.5), obs=X[0])

    loc = new()
    return (
        lambda: run(dist.Normal(0.0, 1.0), True),
        lambda: run(dist.Normal(loc, 1.0).has_rsample_(False), False),
    )
