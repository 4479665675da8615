"""Kinds of sites: points, factors, deterministic, auxiliary, joint, observed; and what is refused by name."""

import math
from contextlib import nullcontext

import pyro
import torch
from pyro import distributions as dist
from pyro import poutine
from pyro.distributions import constraints

from tests.ib_pyro.differential.case import Leaves, program

SECTION = "Kinds of sites"
X = torch.tensor([0.3, -1.2, 0.8], dtype=torch.float64)
KEEP = torch.tensor([True, False, True])


def positive(prior=None, plate=False):
    """A model with a positive vector ``s``, in one event or in a plate."""

    def model():
        if plate:
            with pyro.plate("data", 3):
                s = pyro.sample("s", prior or dist.LogNormal(1.0, 1.0))
                pyro.sample("x", dist.Normal(0.0, s), obs=X)
        else:
            s = pyro.sample("s", prior or dist.LogNormal(torch.ones(3), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(0.0, s).to_event(1), obs=X)

    return model


def exponential(new: Leaves, wrap, plate=False, prior=None):
    """A guide that draws a normal u and sets ``s = exp(u)`` by a ``Delta`` with the log-Jacobian ``-u``."""
    loc = new(3)

    def guide():
        law = dist.Normal(loc, 0.5)
        if plate:
            with pyro.plate("data", 3):
                u = pyro.sample("u", law, infer={"is_auxiliary": True})
                pyro.sample("s", wrap(u))
        else:
            u = pyro.sample("u", law.to_event(1), infer={"is_auxiliary": True})
            pyro.sample("s", wrap(u))

    return positive(plate=plate, prior=prior), guide


def delta(u, **options):
    return dist.Delta(u.exp(), log_density=-u, **options)


# In one event of three: the wrapper is what holds the density.
EVENT = {
    "event_dim=1": lambda u: dist.Delta(u.exp(), log_density=-u.sum(-1), event_dim=1),
    "to_event": lambda u: delta(u).to_event(1),
    "to_event, and an empty mask": lambda u: delta(u).to_event(1).mask(True),
    "mask, then to_event": lambda u: delta(u).mask(torch.tensor(True)).to_event(1),
    "to_event, in two steps": lambda u: delta(u).to_event(1).to_event(0),
    "expand, then to_event": lambda u: delta(u).expand(u.shape).to_event(1),
    "expand_by one": lambda u: delta(u).expand_by([]).to_event(1),
    "a transform around it": lambda u: dist.TransformedDistribution(
        dist.Delta(u.exp(), log_density=-u), [dist.transforms.AffineTransform(0.0, 2.0)]
    ).to_event(1),
}
for name, wrap in EVENT.items():

    @program(SECTION, f"Delta with a density, {name}", nesting=0)
    def _(new: Leaves, wrap=wrap):
        return exponential(new, wrap)


PLATE = {
    "as it is": delta,
    "masked by True": lambda u: delta(u).mask(True),
    "expanded": lambda u: delta(u).expand(u.shape),
    "masked by a tensor of ones": lambda u: delta(u).mask(torch.ones(3, dtype=torch.bool)),
}
for name, wrap in PLATE.items():

    @program(SECTION, f"Delta with a density in a plate, {name}", nesting=1)
    def _(new: Leaves, wrap=wrap):
        return exponential(new, wrap, plate=True)


@program(SECTION, "Delta with a density, masked on both sides", nesting=1)
def _(new: Leaves):
    return exponential(
        new, lambda u: delta(u).mask(KEEP), plate=True, prior=dist.LogNormal(1.0, 1.0).mask(KEEP)
    )


@program(SECTION, "Delta with a density, masked otherwise than the prior", nesting=1)
def _(new: Leaves):
    return exponential(
        new, lambda u: delta(u).mask(KEEP), plate=True, prior=dist.LogNormal(1.0, 1.0).mask(~KEEP)
    )


@program(SECTION, "Delta whose density is the prior's: nothing to pay", nesting=0, exact=None)
def _(new: Leaves):
    loc = new(3)

    def model():
        pyro.sample("s", dist.LogNormal(loc.detach(), 0.5).to_event(1))

    def guide():
        u = pyro.sample("u", dist.Normal(loc, 0.5).to_event(1), infer={"is_auxiliary": True})
        pyro.sample("s", delta(u).to_event(1))

    return model, guide


@program(SECTION, "point estimate: a Delta without a density", nesting=0)
def _(new: Leaves):
    loc = new(3)
    return positive(), lambda: pyro.sample("s", dist.Delta(loc.exp(), event_dim=1))


@program(SECTION, "point estimate, wrapped by to_event", nesting=0)
def _(new: Leaves):
    loc = new(3)
    return positive(), lambda: pyro.sample("s", dist.Delta(loc.exp()).to_event(1))


@program(
    SECTION,
    "Delta in the model: a site that is fixed",
    nesting=0,
    refused=r"site 'c': no closed.form|site 'c': its rate is infinite",
)
def _(new: Leaves):
    loc = new()

    def model():
        c = pyro.sample("c", dist.Delta(torch.tensor(0.5)))
        pyro.sample("x", dist.Normal(c, 1.0), obs=X[0])

    return model, lambda: pyro.sample("c", dist.Normal(loc, 0.5))


@program(SECTION, "factor in the model")
def _(new: Leaves):
    loc = new(3)

    def model():
        with pyro.plate("data", 3):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.factor("penalty", -z.abs())

    def guide():
        with pyro.plate("data", 3):
            pyro.sample("z", dist.Normal(loc, 0.5))

    return model, guide


@program(SECTION, "factor in the model, outside of the plate", nesting=1)
def _(new: Leaves):
    loc = new(3)

    def model():
        w = pyro.sample("w", dist.Normal(0.0, 1.0))
        pyro.factor("penalty", -(w**2))
        with pyro.plate("data", 3):
            pyro.sample("x", dist.Normal(w, 1.0), obs=X)

    return model, lambda: pyro.sample("w", dist.Normal(loc.sum(), 0.5))


@program(SECTION, "factor in the guide, reparameterised", nesting=0)
def _(new: Leaves):
    loc = new(2)

    def model():
        pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 0.5), obs=X[0])

    def guide():
        z = pyro.sample("z", dist.Normal(loc[0], 0.5))
        pyro.factor("correction", loc[1] * z, has_rsample=True)

    return model, guide


@program(
    SECTION, "factor in the guide, said to have no rsample", nesting=0, refused=r"site 'correction'.*reparam"
)
def _(new: Leaves):
    loc = new(2)

    def guide():
        z = pyro.sample("z", dist.Normal(loc[0], 0.5))
        pyro.factor("correction", loc[1] * z, has_rsample=False)

    return lambda: pyro.sample("z", dist.Normal(0.0, 1.0)), guide


@program(SECTION, "deterministic sites on both sides", nesting=0)
def _(new: Leaves):
    loc = new()

    def model():
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        twice = pyro.deterministic("twice", 2 * z)
        pyro.sample("x", dist.Normal(twice, 0.5), obs=X[0])

    def guide():
        z = pyro.sample("z", dist.Normal(loc, 0.5))
        pyro.deterministic("half", z / 2)

    return model, guide


@program(SECTION, "auxiliary site of the guide alone: a mixture over its noise", nesting=0)
def _(new: Leaves):
    loc = new(2)

    def model():
        pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 0.5), obs=X[0])

    def guide():
        extra = pyro.sample("extra", dist.Normal(loc[0], 0.5), infer={"is_auxiliary": True})
        pyro.sample("z", dist.Normal(loc[1] + extra, 0.3))

    return model, guide


@program(SECTION, "auxiliary site with a prior in the model (auxiliary deep generative model)", nesting=0)
def _(new: Leaves):
    loc = new(2)

    def model():
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("extra", dist.Normal(0.5 * z, 1.0))
        pyro.sample("x", dist.Normal(z, 0.5), obs=X[0])

    def guide():
        z = pyro.sample("z", dist.Normal(loc[0], 0.5))
        pyro.sample("extra", dist.Normal(loc[1] * z, 0.7))

    return model, guide


@program(SECTION, "the same, auxiliary site first", nesting=0, closed_form="extra")
def _(new: Leaves):
    loc = new(2)

    def model():
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("extra", dist.Normal(0.5 * z, 1.0))
        pyro.sample("x", dist.Normal(z, 0.5), obs=X[0])

    def guide():
        extra = pyro.sample("extra", dist.Normal(loc[0], 0.7))
        pyro.sample("z", dist.Normal(loc[1] + 0.8 * extra, 0.5))

    return model, guide


@program(SECTION, "one joint site split into two by hand", nesting=0)
def _(new: Leaves):
    loc, factor = new(2), new(2, 2)

    def model():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.Normal(a, 1.0))
        pyro.sample("x", dist.Normal(b, 0.5), obs=X[0])

    def guide():
        scale = factor.tril(-1) + 0.5 * torch.eye(2)
        law = dist.MultivariateNormal(loc, scale_tril=scale)
        joint = pyro.sample("joint", law, infer={"is_auxiliary": True})
        pyro.sample("b", dist.Delta(joint[..., 1]))
        pyro.sample("a", dist.Delta(joint[..., 0]))

    return model, guide


WRAPPERS = {
    "to_event on both sides": (lambda law: law.to_event(1), lambda law: law.to_event(1)),
    "expand, then to_event": (lambda law: law.expand([3]).to_event(1), lambda law: law.to_event(1)),
    "to_event in the guide, an event of its own in the model": (
        lambda law: dist.MultivariateNormal(torch.zeros(3), torch.eye(3)),
        lambda law: dist.MultivariateNormal(law.loc, scale_tril=torch.diag_embed(law.scale)),
    ),
}
for name, (wrap_prior, wrap_guide) in WRAPPERS.items():

    @program(SECTION, f"shapes: {name}", nesting=0)
    def _(new: Leaves, wrap_prior=wrap_prior, wrap_guide=wrap_guide):
        loc = new(3)

        def model():
            z = pyro.sample("z", wrap_prior(dist.Normal(torch.zeros(3), 1.0)))
            pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=X)

        return model, lambda: pyro.sample("z", wrap_guide(dist.Normal(loc, 0.5 * torch.ones(3))))


FAMILIES = {
    "Gamma and Gamma": (lambda: dist.Gamma(2.0, 1.0), lambda p: dist.Gamma(3 * p.exp(), 2.0), None),
    "Gamma and log-normal": (lambda: dist.Gamma(2.0, 1.0), lambda p: dist.LogNormal(p, 0.3), "z"),
    "Exponential and Gamma": (
        lambda: dist.Exponential(torch.tensor(1.0)),
        lambda p: dist.Gamma(3 * p.exp(), 2.0),
        None,
    ),
    "Laplace and Laplace": (lambda: dist.Laplace(1.0, 1.0), lambda p: dist.Laplace(p, 0.5), None),
    "Laplace and normal": (lambda: dist.Laplace(1.0, 1.0), lambda p: dist.Normal(p, 0.5), None),
    "Student's t and normal": (lambda: dist.StudentT(4.0, 1.0, 1.0), lambda p: dist.Normal(p, 0.5), "z"),
    "Cauchy and normal": (lambda: dist.Cauchy(1.0, 1.0), lambda p: dist.Normal(p, 0.5), "z"),
    "half-normal and half-normal": (
        lambda: dist.HalfNormal(torch.tensor(1.0)),
        lambda p: dist.HalfNormal(p.exp()),
        None,
    ),
    "Beta and Beta": (lambda: dist.Beta(2.0, 2.0), lambda p: dist.Beta(3 * p.exp(), 2.0), None),
    "Beta and Kumaraswamy": (lambda: dist.Beta(2.0, 2.0), lambda p: dist.Kumaraswamy(2 * p.exp(), 3.0), "z"),
    "Weibull and Weibull": (lambda: dist.Weibull(1.0, 2.0), lambda p: dist.Weibull(p.exp(), 1.5), "z"),
    "Gumbel and Gumbel": (lambda: dist.Gumbel(0.0, 1.0), lambda p: dist.Gumbel(p, 0.7), None),
    "logistic normal on the simplex": (
        lambda: dist.Dirichlet(torch.ones(3)),
        lambda p: dist.TransformedDistribution(
            dist.Normal(p.expand(2), 0.5).to_event(1), [dist.transforms.StickBreakingTransform()]
        ),
        "z",
    ),
    "inverse gamma": (
        lambda: dist.InverseGamma(3.0, 2.0),
        lambda p: dist.InverseGamma(4 * p.exp(), 2.0),
        None,
    ),
    "soft Laplace": (lambda: dist.SoftLaplace(0.0, 1.0), lambda p: dist.SoftLaplace(p, 0.7), "z"),
    "Pareto": (lambda: dist.Pareto(0.5, 2.0), lambda p: dist.Pareto(0.7, 2 * p.exp()), None),
}
for name, (prior, posterior, missing) in FAMILIES.items():

    @program(SECTION, f"families: {name}", nesting=0, **({"closed_form": missing} if missing else {}))
    def _(new: Leaves, prior=prior, posterior=posterior):
        p = new()

        def model():
            z = pyro.sample("z", prior())
            pyro.sample("x", dist.Normal(z.sum(-1) if prior().event_shape else z, 0.5), obs=X[0])

        return model, lambda: pyro.sample("z", posterior(p))


def one_site(prior, posterior, **observed):
    def model():
        z = pyro.sample("z", prior)
        pyro.sample("y", dist.Normal(z, 0.5), obs=X[0])

    return model, lambda: pyro.sample("z", posterior, **observed)


@program(
    SECTION,
    "an infinite rate: the guide reaches outside of the prior's support",
    refused=r"site 'z'.*(infinite|support)",
    nesting=0,
)
def _(new: Leaves):
    edge = 2 + new().abs()
    return one_site(dist.Uniform(torch.tensor(0.0), torch.tensor(1.0)), dist.Uniform(0 * edge, edge.detach()))


@program(
    SECTION,
    "an infinite rate in closed form: a wider uniform",
    refused=r"site 'z'.*(infinite|support)",
    nesting=0,
)
def _(new: Leaves):
    return one_site(
        dist.Uniform(torch.tensor(0.0), torch.tensor(1.0)),
        dist.Uniform(torch.tensor(-1.0), torch.tensor(0.5)),
    )


@program(SECTION, "a guide that observes a latent", refused=r"site 'z'.*observed in the guide", nesting=0)
def _(new: Leaves):
    return one_site(dist.Normal(0.0, 1.0), dist.Normal(new(), 1.0), obs=torch.tensor(0.0))


@program(
    SECTION,
    "a guide that samples the observed site",
    refused=r"site 'y': the model observes it, but the guide samples it",
    nesting=0,
)
def _(new: Leaves):
    model, _ = one_site(dist.Normal(0.0, 1.0), None)

    def guide():
        z = pyro.sample("z", dist.Normal(0.3, 0.5))
        pyro.sample("y", dist.Normal(z, 0.5))

    return model, guide


@program(
    SECTION, "a guide that observes the observed site", refused=r"site 'y': the guide observes it", nesting=0
)
def _(new: Leaves):
    model, _ = one_site(dist.Normal(0.0, 1.0), None)

    def guide():
        z = pyro.sample("z", dist.Normal(0.3, 0.5))
        pyro.sample("y", dist.Normal(z, 0.5), obs=X[0])

    return model, guide


@program(SECTION, "model and guide swapped", refused=r"site 'y': the guide observes it.*swapped", nesting=0)
def _(new: Leaves):
    model, guide = one_site(dist.Normal(0.0, 1.0), dist.Normal(new(), 0.5))
    return guide, model


@program(
    SECTION,
    "a model conditioned on a latent that the guide samples",
    refused=r"site 'z': the model observes it, but the guide samples it",
    nesting=0,
)
def _(new: Leaves):
    model, guide = one_site(dist.Normal(0.0, 1.0), dist.Normal(new(), 0.5))
    return poutine.condition(model, data={"z": torch.tensor(0.1)}), guide


@program(
    SECTION,
    "a latent of the model that the guide lacks",
    refused=r"differ: \['z'\] only in the model",
    nesting=0,
)
def _(new: Leaves):
    return one_site(dist.Normal(0.0, 1.0), None)[0], lambda: None


@program(SECTION, "a site of the guide that the model lacks", refused=r"'own'.*is_auxiliary", nesting=0)
def _(new: Leaves):
    model, guide = one_site(dist.Normal(0.0, 1.0), dist.Normal(new(), 0.5))

    def more():
        guide()
        pyro.sample("own", dist.Normal(0.0, 1.0))

    return model, more


@program(SECTION, "a site sampled twice", refused=r"site 'z'.*twice", nesting=0)
def _(new: Leaves):
    model, guide = one_site(dist.Normal(0.0, 1.0), dist.Normal(new(), 0.5))

    def twice():
        guide()
        guide()

    return model, twice


@program(SECTION, "event shapes that differ", refused=r"disagree at site 'z'", nesting=0)
def _(new: Leaves):
    return one_site(
        dist.Normal(torch.zeros(2), 1.0).to_event(1), dist.Normal(torch.zeros(3), 1.0).to_event(1)
    )


@program(SECTION, "parameters in the store, with constraints", nesting=0)
def _(new: Leaves):
    def model():
        z = pyro.sample(
            "z", dist.Normal(0.0, pyro.param("width", torch.tensor(1.2), constraint=constraints.positive))
        )
        pyro.sample("y", dist.Normal(z, 0.5), obs=X[0])

    def guide():
        loc = pyro.param("loc", torch.tensor(0.3))
        scale = pyro.param("scale", torch.tensor(0.4), constraint=constraints.positive)
        pyro.sample("z", dist.Normal(loc, scale))

    return model, guide


@program(SECTION, "no latent at all: a likelihood", nesting=0, exact=0.5 * math.log(2 * math.pi) + 0.045)
def _(new: Leaves):
    return lambda: pyro.sample("y", dist.Normal(0.0, 1.0), obs=X[0]), lambda: None


@program(SECTION, "a missing observation, sampled on both sides", nesting=1)
def _(new: Leaves):
    """Missing values as sites of their own: imputed by the guide."""
    loc, missing = new(), new()

    def model():
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        x = pyro.sample("missing", dist.Normal(mean, 1.0))
        with pyro.plate("data", 3):
            pyro.sample("x", dist.Normal(mean + 0.1 * x, 1.0), obs=X)

    def guide():
        pyro.sample("mean", dist.Normal(loc, 0.4))
        pyro.sample("missing", dist.Normal(missing, 0.6))

    return model, guide


def observed_in_part(new: Leaves, around_guide):
    loc, own = new(), new(3)

    def model():
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 3):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=X, obs_mask=KEEP)

    def guide():
        pyro.sample("mean", dist.Normal(loc, 0.4))
        with pyro.plate("data", 3), around_guide:
            pyro.sample("x_unobserved", dist.Normal(own, 0.6))

    return model, guide


@program(SECTION, "obs_mask, the guide masked alike", nesting=1)
def _(new: Leaves):
    return observed_in_part(new, poutine.mask(mask=~KEEP))


@program(SECTION, "obs_mask, the guide not masked", nesting=1, refused=r"site 'x_unobserved': its mask")
def _(new: Leaves):
    return observed_in_part(new, nullcontext())
