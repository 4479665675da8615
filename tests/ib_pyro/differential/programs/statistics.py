"""Structures of statistical modelling in Pyro's tutorials and examples."""

import math

import pyro
import torch
from pyro import distributions as dist

from tests.ib_pyro.differential.case import Leaves, program

SECTION = "Statistical models"


def normals(prefix, loc, scale, sites):
    """A mean-field guide over real sites outside of plates."""
    for i, (name, event) in enumerate(sites):
        value = loc[i].expand(event) if event else loc[i]
        pyro.sample(f"{prefix}{name}", dist.Normal(value, scale).to_event(len(event)))


def linear(x, w):
    return (x * w).sum(-1)


def regression(new: Leaves, likelihood, y, inputs=2):
    x, loc, log_scale = torch.randn(len(y), inputs), new(inputs), new(inputs)

    def model():
        w = pyro.sample("w", dist.Normal(torch.zeros(inputs), 1.0).to_event(1))
        b = pyro.sample("b", dist.Normal(0.0, 2.0))
        with pyro.plate("data", len(y)):
            pyro.sample(
                "y", likelihood(linear(x, w.unsqueeze(-2)) + b if w.dim() == 1 else linear(x, w) + b), obs=y
            )

    def guide():
        pyro.sample("w", dist.Normal(loc, log_scale.exp()).to_event(1))
        pyro.sample("b", dist.Normal(loc.sum(), 0.5))

    return model, guide


COUNTS = torch.tensor([0, 3, 1, 0, 2], dtype=torch.float64)
BINARY = torch.tensor([0, 1, 1, 0, 1], dtype=torch.float64)
LIKELIHOODS = {
    "linear": (
        lambda eta: dist.Normal(eta, 0.5),
        torch.tensor([0.1, -0.3, 1.2, 0.4, -1.0], dtype=torch.float64),
    ),
    "robust": (
        lambda eta: dist.StudentT(4.0, eta, 0.5),
        torch.tensor([0.1, -0.3, 1.2, 0.4, -6.0], dtype=torch.float64),
    ),
    "logistic": (lambda eta: dist.Bernoulli(logits=eta), BINARY),
    "Poisson": (lambda eta: dist.Poisson(eta.exp()), COUNTS),
    "negative binomial": (lambda eta: dist.NegativeBinomial(3.0, logits=eta), COUNTS),
    "binomial": (lambda eta: dist.Binomial(5, logits=eta), COUNTS),
    "zero-inflated Poisson": (
        lambda eta: dist.ZeroInflatedPoisson(eta.exp(), gate=torch.tensor(0.3)),
        COUNTS,
    ),
    "ordinal": (
        lambda eta: dist.OrderedLogistic(eta, torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)),
        COUNTS,
    ),
    "gamma": (lambda eta: dist.Gamma(2.0, (-eta).exp()), COUNTS + 0.5),
    "quantile": (lambda eta: dist.AsymmetricLaplace(eta, 0.5, 1.5), COUNTS),
    "mixture of Laplaces": (
        lambda eta: dist.MixtureSameFamily(
            dist.Categorical(torch.ones(2).double() / 2),
            dist.Laplace(eta.unsqueeze(-1) + torch.tensor([-1.0, 1.0], dtype=torch.float64), 0.7),
        ),
        COUNTS,
    ),
}
for name, (likelihood, y) in LIKELIHOODS.items():

    @program(SECTION, f"regression, {name}")
    def _(new: Leaves, likelihood=likelihood, y=y):
        return regression(new, likelihood, y)


@program(SECTION, "is a coin fair: Beta prior and guide", nesting=0)
def _(new: Leaves):
    log_a = new(2)

    def model():
        p = pyro.sample("p", dist.Beta(torch.tensor(10.0), torch.tensor(10.0)))
        pyro.sample("y", dist.Binomial(10, p), obs=torch.tensor(6.0))

    def guide():
        pyro.sample("p", dist.Beta(15 * log_a[0].exp(), 15 * log_a[1].exp()))

    return model, guide


@program(
    SECTION,
    "Gaussian mean at its exact posterior",
    nesting=1,
    exact=3.5 * math.log(2 * math.pi) - 3.5 * math.log(1) + 0.5 * math.log(8) + 0.5 * (7 - 49 / 8),
)
def _(new: Leaves):
    """Seven ones under N(m, 1), m ~ N(0, 1): y ~ N(0, I + 11')."""

    def model():
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 7):
            pyro.sample("y", dist.Normal(m, 1.0), obs=torch.ones(7))

    def guide():
        pyro.sample("m", dist.Normal(7 / 8, (1 / 8) ** 0.5))

    return model, guide


SCHOOLS = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0], dtype=torch.float64) / 10
SPREADS = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0], dtype=torch.float64) / 10


@program(SECTION, "eight schools, centred, log-normal guide for the half-Cauchy scale", closed_form="tau")
def _(new: Leaves):
    loc, own = new(2), new(8)

    def model():
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        tau = pyro.sample("tau", dist.HalfCauchy(torch.tensor(1.0)))
        with pyro.plate("schools", 8):
            theta = pyro.sample("theta", dist.Normal(mu, tau))
            pyro.sample("y", dist.Normal(theta, SPREADS), obs=SCHOOLS)

    def guide():
        pyro.sample("mu", dist.Normal(loc[0], 0.5))
        pyro.sample("tau", dist.LogNormal(loc[1], 0.3))
        with pyro.plate("schools", 8):
            pyro.sample("theta", dist.Normal(own, 0.6))

    return model, guide


@program(SECTION, "eight schools, not centred, log-normal scale")
def _(new: Leaves):
    loc, own = new(2), new(8)

    def model():
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        tau = pyro.sample("tau", dist.LogNormal(0.0, 1.0))
        with pyro.plate("schools", 8):
            eta = pyro.sample("eta", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(mu + tau * eta, SPREADS), obs=SCHOOLS)

    def guide():
        pyro.sample("mu", dist.Normal(loc[0], 0.5))
        pyro.sample("tau", dist.LogNormal(loc[1], 0.3))
        with pyro.plate("schools", 8):
            pyro.sample("eta", dist.Normal(own, 0.6))

    return model, guide


@program(SECTION, "regression with slopes by group", nesting=1)
def _(new: Leaves):
    group, x = torch.arange(6) % 3, torch.randn(6)
    loc, own, y = new(), new(3, 2), torch.randn(6)

    def model():
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("groups", 3):
            slope = pyro.sample("slope", dist.Normal(mean, 0.5))
            offset = pyro.sample("offset", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 6):
            pyro.sample("y", dist.Normal(slope[..., group] * x + offset[..., group], 0.5), obs=y)

    def guide():
        pyro.sample("mean", dist.Normal(loc, 0.5))
        with pyro.plate("groups", 3):
            pyro.sample("slope", dist.Normal(own[:, 0], 0.5))
            pyro.sample("offset", dist.Normal(own[:, 1], 0.5))

    return model, guide


def mixture(weights, locs, x):
    component = dist.Normal(locs, 0.7)
    return dist.MixtureSameFamily(dist.Categorical(weights), component)


@program(SECTION, "Gaussian mixture, assignments marginalised", nesting=None)
def _(new: Leaves):
    x, loc, log_a = torch.randn(6), new(3), new(3)

    def model():
        weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
        with pyro.plate("components", 3):
            locs = pyro.sample("locs", dist.Normal(0.0, 2.0))
        with pyro.plate("data", 6):
            pyro.sample("x", mixture(weights, locs, x), obs=x)

    def guide():
        pyro.sample("weights", dist.Dirichlet(3 * log_a.exp()))
        with pyro.plate("components", 3):
            pyro.sample("locs", dist.Normal(loc, 0.5))

    return model, guide


@program(SECTION, "Gaussian mixture, assignments relaxed", closed_form="assignment")
def _(new: Leaves):
    x, logits, loc = torch.randn(4), new(4, 3), new(3)

    def model():
        locs = pyro.sample("locs", dist.Normal(torch.zeros(3), 2.0).to_event(1))
        with pyro.plate("data", 4):
            prior = dist.RelaxedOneHotCategorical(torch.tensor(0.5), torch.ones(3) / 3)
            one_hot = pyro.sample("assignment", prior)
            pyro.sample("x", dist.Normal((one_hot * locs).sum(-1), 0.7), obs=x)

    def guide():
        pyro.sample("locs", dist.Normal(loc, 0.5).to_event(1))
        with pyro.plate("data", 4):
            pyro.sample("assignment", dist.RelaxedOneHotCategorical(torch.tensor(0.5), logits=logits))

    return model, guide


@program(SECTION, "Gaussian mixture, assignments enumerated", refused=r"'assignment'")
def _(new: Leaves):
    x, loc = torch.randn(4), new(3)

    def model():
        locs = pyro.sample("locs", dist.Normal(torch.zeros(3), 2.0).to_event(1))
        with pyro.plate("data", 4):
            k = pyro.sample("assignment", dist.Categorical(torch.ones(3)), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(locs[k], 0.7), obs=x)

    def guide():
        pyro.sample("locs", dist.Normal(loc, 0.5).to_event(1))

    return model, guide


@program(SECTION, "stick-breaking mixture, marginalised", nesting=None)
def _(new: Leaves):
    x, loc, log_a = torch.randn(5), new(3), new(2)

    def model():
        with pyro.plate("sticks", 2):
            v = pyro.sample("v", dist.Beta(torch.tensor(1.0), torch.tensor(2.0)))
        with pyro.plate("components", 3):
            locs = pyro.sample("locs", dist.Normal(0.0, 2.0))
        rest = torch.cat([torch.ones(1), (1 - v).cumprod(-1)])
        with pyro.plate("data", 5):
            pyro.sample("x", mixture(torch.cat([v, torch.ones(1)]) * rest, locs, x), obs=x)

    def guide():
        with pyro.plate("sticks", 2):
            pyro.sample("v", dist.Beta(2 * log_a.exp(), torch.tensor(2.0)))
        with pyro.plate("components", 3):
            pyro.sample("locs", dist.Normal(loc, 0.5))

    return model, guide


def state_space(new: Leaves):
    y = torch.randn(4)

    def model():
        z = torch.zeros(())
        for t in range(4):
            z = pyro.sample(f"z{t}", dist.Normal(0.9 * z, 0.6))
            pyro.sample(f"y{t}", dist.Normal(z, 0.5), obs=y[t])

    return model, y


@program(SECTION, "linear state space, filtering guide", nesting=0)
def _(new: Leaves):
    model, y = state_space(new)
    gain, loc = new(), new(4)

    def guide():
        z = torch.zeros(())
        for t in range(4):
            z = pyro.sample(f"z{t}", dist.Normal(0.4 * z + gain * y[t] + loc[t], 0.5))

    return model, guide


@program(SECTION, "linear state space, smoother that runs backwards", nesting=0, closed_form="z[123]")
def _(new: Leaves):
    model, y = state_space(new)
    gain, loc = new(), new(4)

    def guide():
        z = torch.zeros(())
        for t in reversed(range(4)):
            z = pyro.sample(f"z{t}", dist.Normal(0.6 * z + gain * y[t] + loc[t], 0.5))

    return model, guide


@program(SECTION, "linear state space, all states as one vector", nesting=0)
def _(new: Leaves):
    y, loc, factor = torch.randn(4), new(4), new(4, 4)
    transition = torch.eye(4) - 0.9 * torch.diag(torch.ones(3), -1)
    precision = transition.T @ transition / 0.36

    def model():
        z = pyro.sample("z", dist.MultivariateNormal(torch.zeros(4), precision_matrix=precision))
        pyro.sample("y", dist.Normal(z, 0.5).to_event(1), obs=y)

    def guide():
        pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=factor.tril(-1) + 0.5 * torch.eye(4)))

    return model, guide


@program(SECTION, "stochastic volatility", nesting=0)
def _(new: Leaves):
    returns, loc = 0.3 * torch.randn(4), new(5)

    def model():
        sigma = pyro.sample("sigma", dist.LogNormal(-1.0, 0.5))
        h = torch.zeros(())
        for t in range(4):
            h = pyro.sample(f"h{t}", dist.Normal(h, sigma))
            pyro.sample(f"r{t}", dist.StudentT(5.0, 0.0, h.exp()), obs=returns[t])

    def guide():
        sigma = pyro.sample("sigma", dist.LogNormal(loc[4] - 1, 0.3))
        for t in range(4):
            pyro.sample(f"h{t}", dist.Normal(loc[t], sigma))

    return model, guide


@program(SECTION, "epidemic, continuous compartments step by step", nesting=0)
def _(new: Leaves):
    cases, loc = torch.tensor([1.0, 2.0, 4.0]), new(5)

    def model():
        rate = pyro.sample("rate", dist.LogNormal(0.5, 0.5))
        recovery = pyro.sample("recovery", dist.Beta(torch.tensor(2.0), torch.tensor(4.0)))
        infected = torch.ones(())
        for t in range(3):
            growth = (rate - recovery).clamp(-2, 2) * infected.log1p()
            infected = pyro.sample(f"I{t}", dist.LogNormal(growth, 0.3))
            pyro.sample(f"C{t}", dist.Poisson(infected), obs=cases[t])

    def guide():
        pyro.sample("rate", dist.LogNormal(0.3 + loc[3], 0.3))
        pyro.sample("recovery", dist.Beta(3 * loc[4].exp(), torch.tensor(4.0)))
        for t in range(3):
            pyro.sample(f"I{t}", dist.LogNormal(loc[t], 0.4))

    return model, guide


@program(SECTION, "matrix factorisation", nesting=None)
def _(new: Leaves):
    ratings, users, items = torch.randn(3, 4), new(3, 2), new(4, 2)

    def model():
        with pyro.plate("users", 3):
            u = pyro.sample("u", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("items", 4):
            v = pyro.sample("v", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("rows", 3, dim=-2), pyro.plate("columns", 4, dim=-1):
            pyro.sample("r", dist.Normal(u @ v.T, 0.5), obs=ratings)

    def guide():
        with pyro.plate("users", 3):
            pyro.sample("u", dist.Normal(users, 0.5).to_event(1))
        with pyro.plate("items", 4):
            pyro.sample("v", dist.Normal(items, 0.5).to_event(1))

    return model, guide


@program(SECTION, "factor analysis with relevance determination", nesting=2)
def _(new: Leaves):
    x, own, loc, log_a = torch.randn(4, 3), new(4, 2), new(2, 3), new(2)

    def model():
        alpha = pyro.sample("alpha", dist.Gamma(2 * torch.ones(2), 2.0).to_event(1))
        scale = alpha.rsqrt().unsqueeze(-1)
        w = pyro.sample("w", dist.Normal(torch.zeros(2, 3), scale).to_event(2))
        with pyro.plate("data", 4):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            mean = (z.unsqueeze(-2) @ w).squeeze(-2)
            pyro.sample("x", dist.Normal(mean, 0.5).to_event(1), obs=x)

    def guide():
        pyro.sample("alpha", dist.Gamma(4 * log_a.exp(), 3.0).to_event(1))
        pyro.sample("w", dist.Normal(loc, 0.4).to_event(2))
        with pyro.plate("data", 4):
            pyro.sample("z", dist.Normal(own, 0.5).to_event(1))

    return model, guide


@program(SECTION, "sparse gamma factors (deep exponential family)")
def _(new: Leaves):
    counts, own, log_w = torch.randint(4, (3, 4)).double(), new(3, 2), new(2, 4)

    def model():
        w = pyro.sample("w", dist.Gamma(torch.ones(2, 4), 1.0).to_event(2))
        with pyro.plate("data", 3):
            z = pyro.sample("z", dist.Gamma(torch.ones(2), 1.0).to_event(1))
            rate = (z.unsqueeze(-2) @ w).squeeze(-2)
            pyro.sample("x", dist.Poisson(rate).to_event(1), obs=counts)

    def guide():
        pyro.sample("w", dist.Gamma(3 * log_w.exp(), 3.0).to_event(2))
        with pyro.plate("data", 3):
            pyro.sample("z", dist.Gamma(3 * own.exp(), 2.0).to_event(1))

    return model, guide


@program(SECTION, "survival with censored times as factors")
def _(new: Leaves):
    time, seen, x = (
        torch.tensor([0.5, 1.0, 2.0, 0.3], dtype=torch.float64),
        torch.tensor([True, False, True, False]),
        torch.randn(4),
    )
    loc = new(2)

    def model():
        w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        rate = (
            (w[..., 0, None] + w[..., 1, None] * x).exp()
            if w.dim() == 1
            else (w[..., 0] + w[..., 1] * x).exp()
        )
        with pyro.plate("data", 4):
            with pyro.poutine.mask(mask=seen):
                pyro.sample("time", dist.Exponential(rate), obs=time)
            pyro.factor("survived", torch.where(seen, 0.0, -rate * time))

    def guide():
        pyro.sample("w", dist.Normal(loc, 0.4).to_event(1))

    return model, guide


@program(SECTION, "horseshoe regression, log-normal guides", closed_form="(tau|shrink)")
def _(new: Leaves):
    x, y, loc, log_s = torch.randn(5, 3), torch.randn(5), new(3), new(4)

    def model():
        tau = pyro.sample("tau", dist.HalfCauchy(torch.tensor(1.0)))
        shrink = pyro.sample("shrink", dist.HalfCauchy(torch.ones(3)).to_event(1))
        w = pyro.sample("w", dist.Normal(torch.zeros(3), tau.unsqueeze(-1) * shrink).to_event(1))
        with pyro.plate("data", 5):
            pyro.sample("y", dist.Normal(linear(x, w), 0.5), obs=y)

    def guide():
        pyro.sample("tau", dist.LogNormal(log_s[3], 0.3))
        pyro.sample("shrink", dist.LogNormal(log_s[:3], 0.3).to_event(1))
        pyro.sample("w", dist.Normal(loc, 0.4).to_event(1))

    return model, guide


@program(SECTION, "item response, two parameters", nesting=None)
def _(new: Leaves):
    answers, ability, difficulty = torch.randint(2, (3, 4)).double(), new(3), new(4, 2)

    def model():
        with pyro.plate("persons", 3, dim=-2):
            theta = pyro.sample("theta", dist.Normal(0.0, 1.0))
        with pyro.plate("items", 4, dim=-1):
            b = pyro.sample("b", dist.Normal(0.0, 1.0))
            a = pyro.sample("a", dist.LogNormal(0.0, 0.5))
        with pyro.plate("persons'", 3, dim=-2), pyro.plate("items'", 4, dim=-1):
            pyro.sample("y", dist.Bernoulli(logits=a * (theta - b)), obs=answers)

    def guide():
        with pyro.plate("persons", 3, dim=-2):
            pyro.sample("theta", dist.Normal(ability.unsqueeze(-1), 0.5))
        with pyro.plate("items", 4, dim=-1):
            pyro.sample("b", dist.Normal(difficulty[:, 0], 0.5))
            pyro.sample("a", dist.LogNormal(difficulty[:, 1], 0.3))

    return model, guide


@program(SECTION, "batting averages, partly pooled, Beta abilities")
def _(new: Leaves):
    hits, log_a = torch.tensor([18.0, 17.0, 12.0], dtype=torch.float64), new(3)

    def model():
        m = pyro.sample("m", dist.Beta(torch.tensor(4.0), torch.tensor(8.0)))
        with pyro.plate("players", 3):
            phi = pyro.sample("phi", dist.Beta(20 * m, 20 * (1 - m)))
            pyro.sample("hits", dist.Binomial(45, phi), obs=hits)

    def guide():
        pyro.sample("m", dist.Beta(torch.tensor(8.0), torch.tensor(14.0)))
        with pyro.plate("players", 3):
            pyro.sample("phi", dist.Beta(20 * log_a.exp(), torch.tensor(35.0)))

    return model, guide


@program(SECTION, "inclined plane: a uniform prior on a constant", nesting=0, closed_form="mu")
def _(new: Leaves):
    log_a = new(2)

    def model():
        mu = pyro.sample("mu", dist.Uniform(torch.tensor(0.0), torch.tensor(1.0)))
        pyro.sample("t", dist.Normal(1 / (1 - 0.7 * mu), 0.1), obs=torch.tensor(1.2))

    def guide():
        pyro.sample("mu", dist.Kumaraswamy(2 * log_a[0].exp(), 4 * log_a[1].exp()))

    return model, guide


@program(SECTION, "a uniform prior and a uniform guide inside of it", nesting=0)
def _(new: Leaves):
    edge = new(2)

    def model():
        mu = pyro.sample("mu", dist.Uniform(torch.tensor(0.0), torch.tensor(1.0)))
        pyro.sample("t", dist.Normal(mu, 0.5), obs=torch.tensor(0.2))

    def guide():
        pyro.sample("mu", dist.Uniform(0.5 * torch.sigmoid(edge[0]), 0.5 + 0.5 * torch.sigmoid(edge[1])))

    return model, guide


@program(SECTION, "covariance from an LKJ factor and scales", nesting=0, closed_form="factor")
def _(new: Leaves):
    x, loc, log_s = torch.randn(6, 2), new(1), new(2)

    def model():
        factor = pyro.sample("factor", dist.LKJCholesky(2, torch.tensor(2.0)))
        scales = pyro.sample("scales", dist.LogNormal(torch.zeros(2), 1.0).to_event(1))
        scale_tril = scales.unsqueeze(-1) * factor
        zero = torch.zeros(2)
        logs = [
            dist.MultivariateNormal(zero, scale_tril=scale_tril, validate_args=False).log_prob(row)
            for row in x
        ]
        pyro.factor("x", sum(logs))

    def guide():
        base = dist.Normal(loc, 0.3).to_event(1)
        corr = dist.transforms.CorrCholeskyTransform()
        pyro.sample("factor", dist.TransformedDistribution(base, [corr]))
        pyro.sample("scales", dist.LogNormal(log_s, 0.3).to_event(1))

    return model, guide


@program(SECTION, "two observed likelihoods of one latent")
def _(new: Leaves):
    x, counts, loc = torch.randn(4), torch.randint(4, (4,)).double(), new(4)

    def model():
        with pyro.plate("data", 4):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)
            pyro.sample("count", dist.Poisson(z.exp()), obs=counts)

    def guide():
        with pyro.plate("data", 4):
            pyro.sample("z", dist.Normal(loc, 0.4))

    return model, guide
