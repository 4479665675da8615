"""Orders of sites: what the guide samples before, and what after, the latents that the model's site depends on."""

import math

import pyro
import torch
from pyro.distributions import Normal

from tests.ib_pyro.differential.case import Leaves, program

SECTION = "Orders of sites"
Y = 1.0
EVIDENCE = 0.5 * math.log(2 * math.pi * 3) + Y**2 / 6
"""``-log p(y)`` of the chain, whose y is N(0, 3)."""


def sample(name, loc, scale=1.0):
    return pyro.sample(name, Normal(loc, scale))


def observe(loc, scale=1.0, name="y", value=Y):
    pyro.sample(name, Normal(loc, scale), obs=torch.full((), value))


def chain():
    """``a -> b -> y``."""
    a = sample("a", 0.0)
    observe(sample("b", a))


def against_chain(name, through, **fields):
    """A model ``a -> b`` whose dependence goes through something; the guide samples b first."""

    @program(SECTION, name, **({"closed_form": "b", "nesting": 0} | fields))
    def _(new: Leaves):
        loc, slope = new(2), 0.8

        def model():
            a = sample("a", 0.0)
            observe(sample("b", through(a)))

        def guide():
            b = sample("b", loc[0], 0.7)
            sample("a", loc[1] + slope * b, 0.6)

        return model, guide


@program(SECTION, "chain, guide in the model's order", nesting=0)
def _(new: Leaves):
    loc, slope = new(2), new()

    def guide():
        a = sample("a", loc[0], 0.8)
        sample("b", loc[1] + slope * a, 0.5)

    return chain, guide


@program(SECTION, "chain, exact posterior in the model's order", nesting=0, exact=EVIDENCE)
def _(new: Leaves):
    def guide():
        a = sample("a", 1 / 3, (2 / 3) ** 0.5)
        sample("b", (a + Y) / 2, 0.5**0.5)

    return chain, guide


@program(
    SECTION, "chain, exact posterior against the model's order", nesting=0, closed_form="b", exact=EVIDENCE
)
def _(new: Leaves):
    def guide():
        b = sample("b", 2 / 3, (2 / 3) ** 0.5)
        sample("a", 0.5 * b, 0.5**0.5)

    return chain, guide


@program(SECTION, "chain, mean-field guide in the model's order", nesting=0)
def _(new: Leaves):
    loc, log_scale = new(2), new(2)

    def guide():
        for i, name in enumerate("ab"):
            sample(name, loc[i], log_scale[i].exp())

    return chain, guide


@program(SECTION, "chain, mean-field guide against the model's order", nesting=0, closed_form="b")
def _(new: Leaves):
    loc, log_scale = new(2), new(2)

    def guide():
        for i, name in enumerate("ba"):
            sample(name, loc[i], log_scale[i].exp())

    return chain, guide


@program(SECTION, "against the order, where nothing depends on it", nesting=0)
def _(new: Leaves):
    loc = new(2)

    def model():
        sample("a", 0.0)
        observe(sample("b", 0.0))

    def guide():
        b = sample("b", loc[0], 0.7)
        sample("a", loc[1] + b, 0.6)

    return model, guide


@program(SECTION, "against the order, only the scale depends", nesting=0, closed_form="b")
def _(new: Leaves):
    loc = new(2)

    def model():
        a = sample("a", 0.0, 0.5)
        observe(sample("b", 0.0, a.exp()))

    def guide():
        b = sample("b", loc[0], 0.7)
        sample("a", loc[1] + 0.8 * b, 0.4)

    return model, guide


def written_in_place(a):
    buffer = torch.zeros(3)
    buffer[1] = a
    return buffer.sum()


def branched(a):
    return torch.ones(()) if a > 0 else -torch.ones(())


def from_numpy(a):
    return torch.as_tensor(a.detach().numpy() * 0.5)


def table_lookup(a):
    return torch.tensor([-1.0, 1.0])[(a > 0).long()]


against_chain("against the order, through an in-place write", written_in_place, nesting=None)
against_chain("against the order, through indexing", lambda a: torch.stack([a, -a])[0])
against_chain("against the order, through detach", lambda a: a.detach() * 2)
against_chain("against the order, through item", lambda a: torch.tensor(a.item()), nesting=None)
against_chain("against the order, through NumPy", from_numpy, nesting=None)
against_chain("against the order, through control flow", branched, nesting=None)
against_chain("against the order, through a lookup", table_lookup)
against_chain("against the order, through torch.where", lambda a: torch.where(a > 0, 1.0, -1.0))
against_chain("against the order, through no_grad", lambda a: no_grad(a))


def no_grad(a):
    with torch.no_grad():
        return a * 1.5


@program(SECTION, "against the order, through a distribution's own parameters", nesting=0, closed_form="b")
def _(new: Leaves):
    loc = new(2)

    def model():
        prior = Normal(0.0, 1.0)
        prior = Normal(sample("a", 0.0), prior.stddev)
        observe(pyro.sample("b", prior))

    def guide():
        b = sample("b", loc[0], 0.7)
        sample("a", loc[1] + 0.8 * b, 0.6)

    return model, guide


@program(SECTION, "against the order, through a deterministic site", nesting=0, closed_form="b")
def _(new: Leaves):
    loc = new(2)

    def model():
        a = pyro.deterministic("twice", 2 * sample("a", 0.0))
        observe(sample("b", a))

    def guide():
        b = sample("b", loc[0], 0.7)
        sample("a", loc[1] + 0.8 * b, 0.6)

    return model, guide


@program(SECTION, "which branch a latent takes, in the model's order", nesting=None)
def _(new: Leaves):
    loc = new(2)

    def model():
        a = sample("a", 0.0)
        observe(sample("b", branched(a)))

    def guide():
        sample("a", loc[0], 0.7)
        sample("b", loc[1], 0.6)

    return model, guide


@program(SECTION, "independent sites in another order", nesting=0)
def _(new: Leaves):
    loc = new(3)

    def model():
        values = [sample(name, 0.0) for name in "abc"]
        observe(sum(values))

    def guide():
        for i, name in enumerate("cab"):
            sample(name, loc[i], 0.5)

    return model, guide


@program(SECTION, "independent in the model, dependent in the guide, another order", nesting=0)
def _(new: Leaves):
    loc, slope = new(2), new()

    def model():
        observe(sample("a", 0.0) + sample("b", 0.5, 2.0))

    def guide():
        b = sample("b", loc[0], 0.7)
        sample("a", loc[1] + slope * b, 0.6)

    return model, guide


@program(SECTION, "tree from the root, guide in the model's order", nesting=0)
def _(new: Leaves):
    loc = new(3)

    def model():
        root = sample("root", 0.0)
        observe(sample("left", root) + sample("right", -root))

    def guide():
        root = sample("root", loc[0], 0.7)
        sample("right", loc[1] + root, 0.6)
        sample("left", loc[2] - root, 0.6)

    return model, guide


@program(SECTION, "tree, leaves first", nesting=0, closed_form="left")
def _(new: Leaves):
    loc = new(3)

    def model():
        root = sample("root", 0.0)
        observe(sample("left", root) + sample("right", -root))

    def guide():
        left, right = sample("left", loc[0], 0.7), sample("right", loc[1], 0.7)
        sample("root", loc[2] + 0.3 * (left - right), 0.5)

    return model, guide


@program(SECTION, "collider, causes first", nesting=0)
def _(new: Leaves):
    loc = new(3)

    def model():
        a, b = sample("a", 0.0), sample("b", 0.0)
        observe(sample("c", a * b))

    def guide():
        b, a = sample("b", loc[0], 0.7), sample("a", loc[1], 0.6)
        sample("c", loc[2] + a - b, 0.5)

    return model, guide


@program(SECTION, "collider, effect first", nesting=0, closed_form="c")
def _(new: Leaves):
    loc = new(3)

    def model():
        a, b = sample("a", 0.0), sample("b", 0.0)
        observe(sample("c", a * b))

    def guide():
        c = sample("c", loc[0], 0.7)
        sample("a", loc[1] + 0.3 * c, 0.6)
        sample("b", loc[2] - 0.3 * c, 0.6)

    return model, guide


@program(SECTION, "collider, effect between its causes", nesting=0, closed_form="c")
def _(new: Leaves):
    loc = new(3)

    def model():
        a, b = sample("a", 0.0), sample("b", 0.0)
        observe(sample("c", a + b))

    def guide():
        sample("a", loc[0], 0.6)
        c = sample("c", loc[1], 0.7)
        sample("b", loc[2] - 0.3 * c, 0.6)

    return model, guide


@program(SECTION, "diamond, top down", nesting=0)
def _(new: Leaves):
    loc = new(4)

    def model():
        a = sample("a", 0.0)
        b, c = sample("b", a), sample("c", -a)
        observe(sample("d", b + c))

    def guide():
        for i, name in enumerate("acbd"):
            sample(name, loc[i], 0.5)

    return model, guide


@program(SECTION, "diamond, last site first", nesting=0, closed_form="d")
def _(new: Leaves):
    loc = new(4)

    def model():
        a = sample("a", 0.0)
        b, c = sample("b", a), sample("c", -a)
        observe(sample("d", b + c))

    def guide():
        d = sample("d", loc[0], 0.5)
        for i, name in enumerate("abc"):
            sample(name, loc[i + 1] + 0.8 * d, 0.5)

    return model, guide


@program(SECTION, "global site after the local ones that depend on it", closed_form="z")
def _(new: Leaves):
    loc, own = new(), new(4)
    x = torch.randn(4)

    def model():
        mean = sample("mean", 0.0)
        with pyro.plate("n", 4):
            z = sample("z", mean)
            pyro.sample("x", Normal(z, 1.0), obs=x)

    def guide():
        with pyro.plate("n", 4):
            z = sample("z", own, 0.6)
        sample("mean", loc + 0.3 * z.sum(-1, keepdim=z.dim() > 1), 0.5)

    return model, guide


@program(SECTION, "global site before the local ones")
def _(new: Leaves):
    loc, own = new(), new(4)
    x = torch.randn(4)

    def model():
        mean = sample("mean", 0.0)
        with pyro.plate("n", 4):
            z = sample("z", mean)
            pyro.sample("x", Normal(z, 1.0), obs=x)

    def guide():
        mean = sample("mean", loc, 0.5)
        with pyro.plate("n", 4):
            sample("z", own + mean, 0.6)

    return model, guide


@program(SECTION, "two layers, bottom-up guide", closed_form="z1")
def _(new: Leaves):
    up, down = new(3), new(3)
    x = torch.randn(5)

    def model():
        with pyro.plate("n", 5):
            z2 = sample("z2", torch.zeros(5))
            z1 = sample("z1", down[0] * z2)
            pyro.sample("x", Normal(down[1] * z1 + down[2], 0.5), obs=x)

    def guide():
        with pyro.plate("n", 5):
            z1 = sample("z1", up[0] * x, 0.5)
            sample("z2", up[1] * z1 + up[2], 0.6)

    return model, guide


@program(SECTION, "two layers, top-down guide")
def _(new: Leaves):
    up, down = new(3), new(3)
    x = torch.randn(5)

    def model():
        with pyro.plate("n", 5):
            z2 = sample("z2", torch.zeros(5))
            z1 = sample("z1", down[0] * z2)
            pyro.sample("x", Normal(down[1] * z1 + down[2], 0.5), obs=x)

    def guide():
        with pyro.plate("n", 5):
            z2 = sample("z2", up[0] * x, 0.6)
            sample("z1", up[1] * z2 + up[2] * x, 0.5)

    return model, guide


@program(SECTION, "one site of four against the order, the others in it", nesting=0, closed_form="c")
def _(new: Leaves):
    loc = new(4)

    def model():
        a, b = sample("a", 0.0), sample("b", 1.0)
        c = sample("c", b)
        observe(a + sample("d", a) + c)

    def guide():
        a, c = sample("a", loc[0], 0.5), sample("c", loc[1], 0.5)
        b = sample("b", loc[2] + 0.8 * c, 0.5)
        sample("d", loc[3] + a - b, 0.5)

    return model, guide


@program(SECTION, "a latent that only an observation depends on, in any order", nesting=0)
def _(new: Leaves):
    loc = new(2)

    def model():
        a, b = sample("a", 0.0), sample("b", 0.0)
        observe(a, b.exp())

    def guide():
        b = sample("b", loc[0], 0.3)
        sample("a", loc[1] * b, 0.5)

    return model, guide
