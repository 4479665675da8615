"""Plates, scales and masks: nested, sequential, subsampled, around a site on one side or on both."""

import pyro
import torch
from pyro import distributions as dist
from pyro import poutine

from tests.ib_pyro.differential.case import Leaves, program

SECTION = "Plates, scales and masks"
X = torch.tensor([0.3, -1.2, 0.8, 0.1], dtype=torch.float64)
KEEP = torch.tensor([True, False, True, True])
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.1], dtype=torch.float64)
ONE_SIDE = r"site 'z': its (scale|mask) is .* in the guide but .* in the model"


def nothing():
    return poutine.scale(scale=1.0)


def sides(around_prior, around_guide, around_data=nothing, *, prior=None, posterior=None):
    """A builder of one latent site in a plate of four, with a handler around each of three places."""

    def build(new: Leaves):
        loc, log_scale = new(4), new(4)

        def model():
            with pyro.plate("data", 4):
                with around_prior():
                    z = pyro.sample("z", (prior or (lambda d: d))(dist.Normal(0.0, 1.0)))
                with around_data():
                    pyro.sample("x", dist.Normal(z, 0.5), obs=X)

        def guide():
            with pyro.plate("data", 4), around_guide():
                pyro.sample("z", (posterior or (lambda d: d))(dist.Normal(loc, log_scale.exp())))

        return model, guide

    return build


def mask(value=KEEP):
    return lambda: poutine.mask(mask=value)


def scale(value=0.3):
    return lambda: poutine.scale(scale=value)


BOTH = {"a number": scale(), "a tensor": scale(WEIGHTS)}
for name, handler in BOTH.items():
    program(SECTION, f"poutine.scale of {name}, on both sides")(sides(handler, handler))
    program(SECTION, f"poutine.scale of {name}, around everything")(sides(handler, handler, handler))
    program(SECTION, f"poutine.scale of {name}, in the guide alone", refused=ONE_SIDE)(
        sides(nothing, handler)
    )
    program(SECTION, f"poutine.scale of {name}, in the model alone", refused=ONE_SIDE)(
        sides(handler, nothing)
    )
    program(SECTION, f"poutine.scale of {name}, around the data alone")(sides(nothing, nothing, handler))
program(SECTION, "poutine.scale, different on both sides", refused=ONE_SIDE)(sides(scale(0.3), scale(0.4)))

MASKS = {"a tensor": mask(), "False": mask(False), "True": mask(True)}
for name, handler in MASKS.items():
    program(SECTION, f"poutine.mask of {name}, on both sides")(sides(handler, handler))
    program(SECTION, f"poutine.mask of {name}, around the data alone")(sides(nothing, nothing, handler))
program(SECTION, "poutine.mask, around everything")(sides(mask(), mask(), mask()))
program(SECTION, "poutine.mask, in the guide alone", refused=ONE_SIDE)(sides(nothing, mask()))
program(SECTION, "poutine.mask, in the model alone", refused=ONE_SIDE)(sides(mask(), nothing))
program(SECTION, "poutine.mask, different on both sides", refused=ONE_SIDE)(sides(mask(), mask(~KEEP)))


def masked(value=KEEP):
    return lambda law: law.mask(value)


program(SECTION, ".mask, on both sides")(sides(nothing, nothing, prior=masked(), posterior=masked()))
program(SECTION, ".mask of False, on both sides")(
    sides(nothing, nothing, prior=masked(False), posterior=masked(False))
)
program(SECTION, ".mask, different on both sides", error=r"site 'z'.*mask")(
    sides(nothing, nothing, prior=masked(), posterior=masked(~KEEP))
)
program(SECTION, ".mask, in the guide alone", closed_form="z")(sides(nothing, nothing, posterior=masked()))
program(SECTION, ".mask, in the model alone", closed_form="z")(sides(nothing, nothing, prior=masked()))
program(SECTION, ".mask and poutine.mask, alike on both sides")(
    sides(mask(WEIGHTS > 0.3), mask(WEIGHTS > 0.3), prior=masked(), posterior=masked())
)
program(SECTION, "scale and mask, on both sides")(
    sides(
        lambda: Both(scale(WEIGHTS)(), mask()()),
        lambda: Both(scale(WEIGHTS)(), mask()()),
        scale(2.0),
    )
)


class Both:
    """Two handlers as one."""

    def __init__(self, *handlers):
        self.handlers = handlers

    def __enter__(self):
        for handler in self.handlers:
            handler.__enter__()

    def __exit__(self, *error):
        for handler in reversed(self.handlers):
            handler.__exit__(*error)


@program(SECTION, "nested plates", nesting=2)
def _(new: Leaves):
    data, loc, group, own = torch.randn(3, 4), new(), new(3, 1), new(3, 4)

    def model():
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("groups", 3, dim=-2):
            g = pyro.sample("g", dist.Normal(mean, 1.0))
            with pyro.plate("data", 4, dim=-1):
                z = pyro.sample("z", dist.Normal(g, 0.7))
                pyro.sample("x", dist.Normal(z, 0.5), obs=data)

    def guide():
        pyro.sample("mean", dist.Normal(loc, 0.5))
        with pyro.plate("groups", 3, dim=-2):
            pyro.sample("g", dist.Normal(group, 0.5))
            with pyro.plate("data", 4, dim=-1):
                pyro.sample("z", dist.Normal(own, 0.4))

    return model, guide


def crossed(new: Leaves, order):
    data, own = torch.randn(3, 4), new(3, 4)

    def run(order, law, observed):
        plates = [pyro.plate("rows", 3, dim=-2), pyro.plate("columns", 4, dim=-1)]
        with plates[order[0]], plates[order[1]]:
            z = pyro.sample("z", law)
            if observed:
                pyro.sample("x", dist.Normal(z, 0.5), obs=data)

    return lambda: run((0, 1), dist.Normal(0.0, 1.0), True), lambda: run(order, dist.Normal(own, 0.5), False)


@program(SECTION, "crossed plates, nested in another order in the guide", nesting=2)
def _(new: Leaves):
    return crossed(new, (1, 0))


@program(SECTION, "sequential plate")
def _(new: Leaves):
    loc = new(4)

    def model():
        for i in pyro.plate("data", 4):
            z = pyro.sample(f"z{i}", dist.Normal(0.0, 1.0))
            pyro.sample(f"x{i}", dist.Normal(z, 0.5), obs=X[i])

    def guide():
        for i in pyro.plate("data", 4):
            pyro.sample(f"z{i}", dist.Normal(loc[i], 0.5))

    return model, guide


@program(
    SECTION,
    "sequential plate, subsampled",
    nesting=None,
    forced=r"sampled_rates: site 'z\d' is unknown",
)
def _(new: Leaves):
    loc = new(4)

    def model():
        for i in pyro.plate("data", 4, subsample_size=2):
            z = pyro.sample(f"z{i}", dist.Normal(0.0, 1.0))
            pyro.sample(f"x{i}", dist.Normal(z, 0.5), obs=X[i])

    def guide():
        for i in pyro.plate("data", 4, subsample_size=2):
            pyro.sample(f"z{i}", dist.Normal(loc[i], 0.5))

    return model, guide


@program(
    SECTION,
    "sequential plate on one side, vectorised on the other",
    refused=r"sites of model and guide differ: \['z0', .* only in the guide",
)
def _(new: Leaves):
    loc = new(4)

    def model():
        for i in pyro.plate("data", 4):
            pyro.sample(f"z{i}", dist.Normal(0.0, 1.0))

    def guide():
        with pyro.plate("data", 4):
            pyro.sample("z", dist.Normal(loc, 0.5))

    return model, guide


@program(SECTION, "vectorised plate inside of a sequential one", nesting=1)
def _(new: Leaves):
    loc, data = new(3, 4), torch.randn(3, 4)

    def model():
        for i in pyro.plate("steps", 3):
            with pyro.plate(f"data{i}", 4):
                z = pyro.sample(f"z{i}", dist.Normal(0.0, 1.0))
                pyro.sample(f"x{i}", dist.Normal(z, 0.5), obs=data[i])

    def guide():
        for i in pyro.plate("steps", 3):
            with pyro.plate(f"data{i}", 4):
                pyro.sample(f"z{i}", dist.Normal(loc[i], 0.5))

    return model, guide


def subsampled(in_model, in_guide):
    def build(new: Leaves):
        loc, own, data = new(), new(8), torch.randn(8)

        def model():
            mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
            with pyro.plate("data", 8, **in_model) as i:
                z = pyro.sample("z", dist.Normal(mean, 1.0))
                pyro.sample("x", dist.Normal(z, 0.5), obs=data[i])

        def guide():
            pyro.sample("mean", dist.Normal(loc, 0.4))
            with pyro.plate("data", 8, **in_guide) as i:
                pyro.sample("z", dist.Normal(own[i], 0.5))

        return model, guide

    return build


SOME, THREE = torch.tensor([1, 3, 6]), {"subsample_size": 3}
program(SECTION, "subsampling, in model and guide alike", nesting=None)(subsampled(THREE, THREE))
program(SECTION, "subsample named by the caller, on both sides")(
    subsampled({"subsample": SOME}, {"subsample": SOME})
)
program(SECTION, "subsampling, in the guide, and the model takes its indices", nesting=None)(
    subsampled({"subsample_size": 3}, {"subsample_size": 3})
)
program(SECTION, "subsampling, in the model alone", refused=r"subsample_size does not match")(
    subsampled(THREE, {})
)
program(SECTION, "subsamples named differently: the guide's holds")(
    subsampled({"subsample": SOME}, {"subsample": SOME[:2]})
)


@program(SECTION, "subsampled data with global latents alone", nesting=None)
def _(new: Leaves):
    loc, data = new(), torch.randn(8)

    def model():
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 8, subsample_size=3) as i:
            pyro.sample("x", dist.Normal(mean, 0.5), obs=data[i])

    return model, lambda: pyro.sample("mean", dist.Normal(loc, 0.4))


@program(SECTION, "subsampled data through pyro.subsample", nesting=None)
def _(new: Leaves):
    own, data = new(8), torch.randn(8)

    def model():
        with pyro.plate("data", 8, subsample_size=3):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=pyro.subsample(data, event_dim=0))

    def guide():
        with pyro.plate("data", 8, subsample_size=3):
            pyro.sample("z", dist.Normal(pyro.subsample(own, event_dim=0), 0.5))

    return model, guide


@program(SECTION, "nested plates, both subsampled", nesting=None)
def _(new: Leaves):
    data, group, own = torch.randn(5, 6), new(5, 1), new(5, 6)

    def model():
        with pyro.plate("groups", 5, subsample_size=3, dim=-2) as g:
            shift = pyro.sample("g", dist.Normal(0.0, 1.0))
            with pyro.plate("data", 6, subsample_size=2, dim=-1) as i:
                z = pyro.sample("z", dist.Normal(shift, 0.7))
                pyro.sample("x", dist.Normal(z, 0.5), obs=data[g][:, i])

    def guide():
        with pyro.plate("groups", 5, subsample_size=3, dim=-2) as g:
            pyro.sample("g", dist.Normal(group[g], 0.5))
            with pyro.plate("data", 6, subsample_size=2, dim=-1) as i:
                pyro.sample("z", dist.Normal(own[g][:, i], 0.4))

    return model, guide


@program(SECTION, "a plate in the guide alone", refused=r"disagree at site 'z'", nesting=None)
def _(new: Leaves):
    loc = new(4)

    def guide():
        with pyro.plate("data", 4):
            pyro.sample("z", dist.Normal(loc, 0.5))

    return lambda: pyro.sample("z", dist.Normal(torch.zeros(4), 1.0).to_event(1)), guide


@program(SECTION, "a plate in the model alone", refused=r"disagree at site 'z'", nesting=None)
def _(new: Leaves):
    loc = new(4)

    def model():
        with pyro.plate("data", 4):
            pyro.sample("z", dist.Normal(torch.zeros(4), 1.0))

    return model, lambda: pyro.sample("z", dist.Normal(loc, 0.5).to_event(1))


@program(
    SECTION,
    "a batch dimension that is no plate's",
    refused=r'at site "z", invalid log_prob shape',
    nesting=None,
)
def _(new: Leaves):
    loc = new(4)
    return lambda: pyro.sample("z", dist.Normal(torch.zeros(4), 1.0)), lambda: pyro.sample(
        "z", dist.Normal(loc, 0.5)
    )
