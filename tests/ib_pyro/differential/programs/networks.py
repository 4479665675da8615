"""Structures of Pyro's tutorials and examples with networks: autoencoders, sequences, topics, regression."""

import pyro
import torch
from pyro import distributions as dist
from pyro import poutine
from torch import nn
from torch.nn import functional as F

from tests.ib_pyro.differential.case import Leaves, program

SECTION = "Networks"
BATCH, PIXELS, UNITS = 4, 3, 2


def images():
    return torch.randint(2, (BATCH, PIXELS)).double()


def normal(raw):
    loc, log_scale = raw.chunk(2, -1)
    return dist.Normal(loc, F.softplus(log_scale) + 0.1).to_event(1)


def standard(units=UNITS):
    return dist.Normal(torch.zeros(units), 1.0).to_event(1)


@program(SECTION, "VAE")
def _(new: Leaves):
    up, down, x = new(PIXELS, 2 * UNITS), new(UNITS, PIXELS), images()

    def model():
        with pyro.plate("data", BATCH):
            z = pyro.sample("z", standard())
            pyro.sample("x", dist.Bernoulli(logits=z @ down).to_event(1), obs=x)

    def guide():
        with pyro.plate("data", BATCH):
            pyro.sample("z", normal(x @ up))

    return model, guide


@program(SECTION, "VAE with networks that pyro.module registers")
def _(new: Leaves):
    encoder, decoder, x = nn.Linear(PIXELS, 2 * UNITS), nn.Linear(UNITS, PIXELS), images()

    def model():
        pyro.module("decoder", decoder)
        with pyro.plate("data", BATCH):
            z = pyro.sample("z", standard())
            pyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

    def guide():
        pyro.module("encoder", encoder)
        with pyro.plate("data", BATCH):
            pyro.sample("z", normal(encoder(x)))

    return model, guide


@program(SECTION, "VAE with a full covariance in the guide", closed_form="z")
def _(new: Leaves):
    up, down, x = new(PIXELS, UNITS), new(UNITS, PIXELS), images()
    factor = new(UNITS, UNITS)

    def model():
        with pyro.plate("data", BATCH):
            z = pyro.sample("z", standard())
            pyro.sample("x", dist.Bernoulli(logits=z @ down).to_event(1), obs=x)

    def guide():
        with pyro.plate("data", BATCH):
            scale = factor.tril() + torch.eye(UNITS)
            pyro.sample("z", dist.MultivariateNormal(x @ up, scale_tril=scale))

    return model, guide


@program(SECTION, "conditional VAE, with a network as the prior")
def _(new: Leaves):
    up, down, prior = new(PIXELS + 1, 2 * UNITS), new(UNITS + 1, PIXELS), new(1, 2 * UNITS)
    x, label = images(), torch.arange(BATCH).double().unsqueeze(-1) / BATCH

    def model():
        with pyro.plate("data", BATCH):
            z = pyro.sample("z", normal(label @ prior))
            both = torch.cat([z, label.expand(*z.shape[:-1], 1)], -1)
            pyro.sample("x", dist.Bernoulli(logits=both @ down).to_event(1), obs=x)

    def guide():
        with pyro.plate("data", BATCH):
            pyro.sample("z", normal(torch.cat([x, label], -1) @ up))

    return model, guide


def semi_supervised(new: Leaves, labels, relaxed=None):
    """Kingma et al. 2014, M2: the label is observed, or drawn from a relaxation."""
    up, down = new(PIXELS + 3, 2 * UNITS), new(UNITS + 3, PIXELS)
    classify, x = new(PIXELS, 3), images()

    def model():
        with pyro.plate("data", BATCH):
            z = pyro.sample("z", standard())
            y = pyro.sample("y", relaxed or dist.OneHotCategorical(torch.ones(3) / 3), obs=labels)
            both = torch.cat([z, y.expand(*z.shape[:-1], 3)], -1)
            pyro.sample("x", dist.Bernoulli(logits=both @ down).to_event(1), obs=x)

    def guide():
        with pyro.plate("data", BATCH):
            y = labels
            if labels is None:
                probs = (x @ classify).softmax(-1)
                y = pyro.sample("y", dist.RelaxedOneHotCategorical(torch.tensor(0.7), probs))
            pyro.sample("z", normal(torch.cat([x.expand(*y.shape[:-1], PIXELS), y], -1) @ up))

    return model, guide


@program(SECTION, "semi-supervised VAE, labels observed")
def _(new: Leaves):
    return semi_supervised(new, F.one_hot(torch.arange(BATCH) % 3).double())


@program(SECTION, "semi-supervised VAE, labels relaxed", closed_form="y")
def _(new: Leaves):
    prior = dist.RelaxedOneHotCategorical(torch.tensor(0.7), torch.ones(3) / 3)
    return semi_supervised(new, None, prior)


@program(SECTION, "semi-supervised VAE, labels enumerated", refused=r"site 'y': .*not reparameterised")
def _(new: Leaves):
    model, _ = semi_supervised(new, None)

    def guide():
        with pyro.plate("data", BATCH):
            pyro.sample("y", dist.OneHotCategorical(torch.ones(3) / 3), infer={"enumerate": "parallel"})
            pyro.sample("z", standard())

    return model, guide


def lengths():
    return torch.tensor([[True, True, True], [True, False, False], [True, True, False], [True, True, True]])


def markov_model(new: Leaves, through_markov=False):
    move, emit, x = new(UNITS, 2 * UNITS), new(UNITS, PIXELS), torch.randint(2, (BATCH, 3, PIXELS)).double()
    keep = lengths()

    def model():
        z = torch.zeros(UNITS)
        with pyro.plate("data", BATCH):
            for t in pyro.markov(range(3)) if through_markov else range(3):
                with poutine.mask(mask=keep[:, t]):
                    z = pyro.sample(f"z{t}", normal(z @ move))
                    pyro.sample(f"x{t}", dist.Bernoulli(logits=z @ emit).to_event(1), obs=x[:, t])

    return model, x, keep


def markov_guide(new: Leaves, x, keep, steps):
    up = new(PIXELS + UNITS, 2 * UNITS)

    def guide():
        z = torch.zeros(BATCH, UNITS)
        with pyro.plate("data", BATCH):
            for t in steps:
                with poutine.mask(mask=keep[:, t]):
                    both = torch.cat([x[:, t].expand(*z.shape[:-1], PIXELS), z], -1)
                    z = pyro.sample(f"z{t}", normal(both @ up))

    return guide


@program(SECTION, "deep Markov model, sequences of several lengths")
def _(new: Leaves):
    model, x, keep = markov_model(new)
    return model, markov_guide(new, x, keep, range(3))


@program(SECTION, "deep Markov model in pyro.markov")
def _(new: Leaves):
    model, x, keep = markov_model(new, through_markov=True)
    return model, markov_guide(new, x, keep, range(3))


@program(SECTION, "deep Markov model, guide that runs backwards", closed_form="z[12]")
def _(new: Leaves):
    model, x, keep = markov_model(new)
    return model, markov_guide(new, x, keep, reversed_steps())


def reversed_steps():
    return list(reversed(range(3)))


@program(SECTION, "deep Markov model, recurrent guide with a flow", closed_form="z0", nesting=None)
def _(new: Leaves):
    model, x, keep = markov_model(new)
    up, loc = new(PIXELS + UNITS, 2 * UNITS), new(UNITS)

    def guide():
        z = torch.zeros(BATCH, UNITS)
        with pyro.plate("data", BATCH):
            for t in range(3):
                with poutine.mask(mask=keep[:, t]):
                    base = normal(torch.cat([x[:, t], z], -1) @ up)
                    flow = dist.transforms.AffineTransform(loc, 1.5, event_dim=1)
                    z = pyro.sample(f"z{t}", dist.TransformedDistribution(base, [flow]))

    return model, guide


@program(SECTION, "KL annealing by poutine.scale on both sides")
def _(new: Leaves):
    up, down, x = new(PIXELS, 2 * UNITS), new(UNITS, PIXELS), images()

    def model():
        with pyro.plate("data", BATCH):
            with poutine.scale(scale=0.3):
                z = pyro.sample("z", standard())
            pyro.sample("x", dist.Bernoulli(logits=z @ down).to_event(1), obs=x)

    def guide():
        with pyro.plate("data", BATCH), poutine.scale(scale=0.3):
            pyro.sample("z", normal(x @ up))

    return model, guide


def topics(new: Leaves, latent, posterior, weights):
    counts, words = torch.randint(4, (BATCH, 5)).double(), new(UNITS, 5)

    def model():
        with pyro.plate("documents", BATCH):
            theta = pyro.sample("theta", latent)
            probs = weights(theta) @ words.softmax(-1)
            pyro.sample(
                "words", dist.Multinomial(int(counts.sum()), probs=probs, validate_args=False), obs=counts
            )

    def guide():
        with pyro.plate("documents", BATCH):
            pyro.sample("theta", posterior(counts))

    return model, guide


@program(SECTION, "topics, amortised, logistic normal (ProdLDA)")
def _(new: Leaves):
    up = new(5, 2 * UNITS)
    return topics(new, standard(), lambda counts: normal(counts @ up), lambda theta: theta.softmax(-1))


@program(SECTION, "topics, amortised, Dirichlet (LDA)")
def _(new: Leaves):
    up = new(5, UNITS)
    prior = dist.Dirichlet(torch.ones(UNITS))
    return topics(new, prior, lambda c: dist.Dirichlet((c @ up).exp() + 0.5), lambda theta: theta)


@program(SECTION, "Bayesian network, weights as sites of one PyroModule")
def _(new: Leaves):
    x, y, loc, log_scale = torch.randn(5, 2), torch.randn(5), new(4, 2), new(4, 2)

    def model():
        w = pyro.sample("w", dist.Normal(torch.zeros(4, 2), 1.0).to_event(2))
        v = pyro.sample("v", dist.Normal(torch.zeros(4), 1.0).to_event(1))
        hidden = torch.tanh((x[:, None] * w).sum(-1) if w.dim() == 2 else (x[:, None] * w).sum(-1))
        with pyro.plate("data", 5):
            pyro.sample("y", dist.Normal((hidden * v).sum(-1), 0.5), obs=y)

    def guide():
        pyro.sample("w", dist.Normal(loc, log_scale.exp()).to_event(2))
        pyro.sample("v", dist.Normal(loc[:, 0], 0.4).to_event(1))

    return model, guide


@program(SECTION, "hierarchical VAE, one group latent and one for each item")
def _(new: Leaves):
    up, down, top = new(PIXELS, 2 * UNITS), new(UNITS, PIXELS), new(UNITS)
    x = images()

    def model():
        shared = pyro.sample("shared", standard())
        with pyro.plate("data", BATCH):
            z = pyro.sample("z", dist.Normal(shared, 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=z @ down).to_event(1), obs=x)

    def guide():
        pyro.sample("shared", dist.Normal(top, 0.4).to_event(1))
        with pyro.plate("data", BATCH):
            pyro.sample("z", normal(x @ up))

    return model, guide


@program(SECTION, "VAE whose likelihood is a flow")
def _(new: Leaves):
    up, down, shift = new(PIXELS, 2 * UNITS), new(UNITS, PIXELS), new(PIXELS)
    x = torch.rand(BATCH, PIXELS) + 0.1

    def model():
        with pyro.plate("data", BATCH):
            z = pyro.sample("z", standard())
            base = dist.Normal(z @ down + shift, 1.0)
            flow = dist.transforms.ExpTransform()
            pyro.sample("x", dist.TransformedDistribution(base, [flow]).to_event(1), obs=x)

    def guide():
        with pyro.plate("data", BATCH):
            pyro.sample("z", normal(x @ up))

    return model, guide


@program(SECTION, "causal-effect VAE: treatment and outcome observed")
def _(new: Leaves):
    up, down, arms = new(PIXELS, 2 * UNITS), new(UNITS, PIXELS), new(2, UNITS)
    x, treated, outcome = torch.randn(BATCH, PIXELS), (torch.arange(BATCH) % 2).double(), torch.randn(BATCH)

    def model():
        with pyro.plate("data", BATCH):
            z = pyro.sample("z", standard())
            pyro.sample("x", dist.Normal(z @ down, 1.0).to_event(1), obs=x)
            t = pyro.sample("t", dist.Bernoulli(logits=z.sum(-1)), obs=treated)
            pyro.sample("y", dist.Normal((z * arms[t.long()]).sum(-1), 0.5), obs=outcome)

    def guide():
        with pyro.plate("data", BATCH):
            pyro.sample("z", normal(x @ up))

    return model, guide


@program(SECTION, "attend, infer, repeat: steps whose presence is relaxed", closed_form="present0")
def _(new: Leaves):
    up, down, x = new(PIXELS, 2 * UNITS), new(UNITS, PIXELS), torch.randn(BATCH, PIXELS)
    presence = new(PIXELS)

    def model():
        mean = torch.zeros(BATCH, PIXELS)
        with pyro.plate("data", BATCH):
            for t in range(2):
                on = pyro.sample(
                    f"present{t}", dist.RelaxedBernoulliStraightThrough(torch.tensor(0.5), torch.tensor(0.5))
                )
                z = pyro.sample(f"what{t}", standard())
                mean = mean + on.unsqueeze(-1) * (z @ down)
            pyro.sample("x", dist.Normal(mean, 0.5).to_event(1), obs=x)

    def guide():
        with pyro.plate("data", BATCH):
            for t in range(2):
                probs = torch.sigmoid(x @ presence)
                pyro.sample(f"present{t}", dist.RelaxedBernoulliStraightThrough(torch.tensor(0.5), probs))
                pyro.sample(f"what{t}", normal(x @ up))

    return model, guide
