"""Programs in the manner of Pyro's tutorials run unchanged: a VAE, a deep Markov model, a Bayesian regression."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.distributions import constraints
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoDiagonalNormal, AutoMultivariateNormal, AutoNormal
from pyro.nn import PyroModule, PyroSample
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from ib_pyro import InformationBottleneckELBO


def loss_of(elbo, model, guide, *args, seed=3, **kwargs):
    """The loss under the same noise."""
    pyro.set_rng_seed(seed)
    return elbo.differentiable_loss(model, guide, *args, **kwargs)


class TutorialVAE(nn.Module):
    """An encoder and a decoder that ``pyro.module`` registers, and a plate over the images of a batch."""

    def __init__(self, pixels=6, hidden=5, units=3):
        super().__init__()
        self.units = units
        self.hidden = nn.Linear(pixels, hidden)
        self.loc, self.log_scale = nn.Linear(hidden, units), nn.Linear(hidden, units)
        self.decoder = nn.Sequential(nn.Linear(units, hidden), nn.Softplus(), nn.Linear(hidden, pixels))

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", x.shape[0]):
            zeros = x.new_zeros(x.shape[0], self.units)
            z = pyro.sample("latent", dist.Normal(zeros, torch.ones_like(zeros)).to_event(1))
            pyro.sample("obs", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("vae", self)
        with pyro.plate("data", x.shape[0]):
            loc, scale = self.encode(x)
            pyro.sample("latent", dist.Normal(loc, scale).to_event(1))

    def encode(self, x):
        h = F.softplus(self.hidden(x))
        return self.loc(h), self.log_scale(h).exp()


def binary(*shape):
    return torch.randint(2, shape, generator=torch.Generator().manual_seed(1)).double()


def test_vae_is_pyros_at_beta_one():
    vae, x = TutorialVAE().double(), binary(7, 6)
    for reference in (TraceMeanField_ELBO(), TraceMeanField_ELBO(num_particles=3)):
        ours = InformationBottleneckELBO(num_particles=reference.num_particles)
        torch.testing.assert_close(
            loss_of(ours, vae.model, vae.guide, x),
            loss_of(reference, vae.model, vae.guide, x),
            rtol=1e-14,
            atol=0,
        )


@pytest.mark.parametrize("beta", [0.0, 0.25, 4.0])
def test_vae_at_another_beta_is_distortion_plus_beta_times_the_kl(beta):
    vae, x = TutorialVAE().double(), binary(7, 6)
    loss = loss_of(InformationBottleneckELBO(beta), vae.model, vae.guide, x)
    pyro.set_rng_seed(3)
    loc, scale = vae.encode(x)
    z = loc + scale * torch.randn_like(loc)
    distortion = F.binary_cross_entropy_with_logits(vae.decoder(z), x, reduction="sum")
    torch.testing.assert_close(
        loss, distortion + beta * kl_divergence(Normal(loc, scale), Normal(0, 1)).sum()
    )


def test_vae_trains_by_svi_as_in_the_tutorial():
    vae, x = TutorialVAE().double(), binary(7, 6)
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 0.02}), loss=InformationBottleneckELBO(0.5))
    losses = [svi.step(x) for _ in range(25)]
    assert sum(losses[-5:]) < sum(losses[:5])


class DeepMarkovModel(nn.Module):
    """Latents along time, each from a gated transition; sequences of several lengths; a recurrent guide."""

    def __init__(self, notes=4, units=3, hidden=5):
        super().__init__()
        self.transition = nn.Sequential(nn.Linear(units, hidden), nn.Tanh(), nn.Linear(hidden, 2 * units))
        self.emission = nn.Linear(units, notes)
        self.combine = nn.Linear(units + hidden, 2 * units)
        self.rnn = nn.RNN(notes, hidden, batch_first=True)
        self.start, self.guide_start = nn.Parameter(torch.zeros(units)), nn.Parameter(torch.zeros(units))

    @staticmethod
    def normal(output, mask):
        loc, raw = output.chunk(2, -1)
        return dist.Normal(loc, F.softplus(raw)).mask(mask).to_event(1)

    def model(self, x, mask, annealing=1.0):
        pyro.module("dmm", self)
        z = self.start.expand(len(x), -1)
        with pyro.plate("sequences", len(x)):
            for t in range(x.shape[1]):
                keep = mask[:, t : t + 1]
                with poutine.scale(scale=annealing):
                    z = pyro.sample(f"z_{t + 1}", self.normal(self.transition(z), keep))
                emission = dist.Bernoulli(logits=self.emission(z)).mask(keep).to_event(1)
                pyro.sample(f"x_{t + 1}", emission, obs=x[:, t])

    def guide(self, x, mask, annealing=1.0):
        pyro.module("dmm", self)
        states, _ = self.rnn(x.flip(1))
        states = states.flip(1)
        z = self.guide_start.expand(len(x), -1)
        with pyro.plate("sequences", len(x)):
            for t in range(x.shape[1]):
                with poutine.scale(scale=annealing):
                    h = self.combine(torch.cat([z, states[:, t]], -1))
                    z = pyro.sample(f"z_{t + 1}", self.normal(h, mask[:, t : t + 1]))


def sequences():
    lengths = torch.tensor([4, 2, 3, 4, 1])
    return binary(5, 4, 4), torch.arange(4) < lengths.unsqueeze(-1)


@pytest.mark.parametrize("annealing", [1.0, 0.2])
def test_deep_markov_model_is_pyros_at_beta_one_whatever_the_annealing(annealing):
    dmm = DeepMarkovModel().double()
    arguments = (*sequences(), annealing)
    torch.testing.assert_close(
        loss_of(InformationBottleneckELBO(), dmm.model, dmm.guide, *arguments),
        loss_of(TraceMeanField_ELBO(), dmm.model, dmm.guide, *arguments),
        rtol=1e-14,
        atol=0,
    )


@pytest.mark.parametrize("beta", [0.2, 3.0])
def test_kl_annealing_by_scale_and_by_beta_are_one(beta):
    dmm = DeepMarkovModel().double()
    by_beta = loss_of(InformationBottleneckELBO(beta), dmm.model, dmm.guide, *sequences())
    by_scale = loss_of(InformationBottleneckELBO(), dmm.model, dmm.guide, *sequences(), beta)
    torch.testing.assert_close(by_beta, by_scale, rtol=1e-13, atol=0)
    # They multiply, and each step of time may have a weight of its own.
    both = loss_of(InformationBottleneckELBO(beta), dmm.model, dmm.guide, *sequences(), 0.5)
    torch.testing.assert_close(
        both,
        loss_of(InformationBottleneckELBO(0.5 * beta), dmm.model, dmm.guide, *sequences()),
        rtol=1e-13,
        atol=0,
    )
    by_site = InformationBottleneckELBO({f"z_{t}": beta for t in range(1, 5)})
    torch.testing.assert_close(
        by_beta, loss_of(by_site, dmm.model, dmm.guide, *sequences()), rtol=1e-13, atol=0
    )


def test_deep_markov_model_reports_rates_without_the_annealing_and_none_beyond_a_sequences_end():
    dmm = DeepMarkovModel().double()
    x, mask = sequences()
    pyro.set_rng_seed(3)
    terms = InformationBottleneckELBO(0.7).terms(dmm.model, dmm.guide, x, mask)
    assert list(terms.rate) == ["z_1", "z_2", "z_3", "z_4"]
    total = terms.distortion.sum() + 0.7 * sum(rate.sum() for rate in terms.rate.values())
    torch.testing.assert_close(terms.loss, total)
    for t, rate in enumerate(terms.rate.values()):
        assert torch.equal(rate != 0, mask[:, t])
    pyro.set_rng_seed(3)
    annealed = InformationBottleneckELBO().terms(dmm.model, dmm.guide, x, mask, 0.1)
    for rate, other in zip(terms.rate.values(), annealed.rate.values(), strict=True):
        torch.testing.assert_close(rate, other)


def test_kl_annealing_at_exactly_zero_which_a_scale_cannot_do():
    dmm = DeepMarkovModel().double()
    loss = loss_of(InformationBottleneckELBO(0.0), dmm.model, dmm.guide, *sequences())
    pyro.set_rng_seed(3)
    terms = InformationBottleneckELBO().terms(dmm.model, dmm.guide, *sequences())
    torch.testing.assert_close(loss, terms.distortion.sum())


class BayesianRegression(PyroModule):
    """Normal weights and bias, a uniform noise scale: the regression that the tutorials put under AutoGuides."""

    def __init__(self, inputs=3):
        super().__init__()
        self.linear = PyroModule[nn.Linear](inputs, 1)
        zero = torch.zeros((), dtype=torch.float64)
        self.linear.weight = PyroSample(dist.Normal(zero, 1.0).expand([1, inputs]).to_event(2))
        self.linear.bias = PyroSample(dist.Normal(zero, 10.0).expand([1]).to_event(1))
        self.known_scale = False

    def forward(self, x, y=None):
        one = torch.ones((), dtype=torch.float64)
        sigma = one if self.known_scale else pyro.sample("sigma", dist.Uniform(0.0 * one, 10.0 * one))
        mean = self.linear(x).squeeze(-1)
        with pyro.plate("data", x.shape[0]):
            return pyro.sample("obs", dist.Normal(mean, sigma), obs=y)


def regression(auto_guide, *, known_scale=False):
    x = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = x @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + 0.7
    model = BayesianRegression()
    model.known_scale = known_scale
    guide = auto_guide(model)
    guide(x, y)
    return model, guide.double(), x, y


@pytest.mark.parametrize("auto_guide", [AutoNormal, AutoDiagonalNormal, AutoMultivariateNormal])
def test_regression_is_pyros_sampled_elbo_with_the_jacobian_of_sigma(auto_guide):
    model, guide, x, y = regression(auto_guide)
    for seed in range(3):
        torch.testing.assert_close(
            loss_of(InformationBottleneckELBO(), model, guide, x, y, seed=seed),
            loss_of(Trace_ELBO(), model, guide, x, y, seed=seed),
        )


@pytest.mark.parametrize("auto_guide", [AutoNormal, AutoDiagonalNormal, AutoMultivariateNormal])
def test_regression_without_constrained_sites_is_pyros_mean_field_elbo(auto_guide):
    model, guide, x, y = regression(auto_guide, known_scale=True)
    for seed in range(3):
        torch.testing.assert_close(
            loss_of(InformationBottleneckELBO(), model, guide, x, y, seed=seed),
            loss_of(TraceMeanField_ELBO(), model, guide, x, y, seed=seed),
        )


def test_pyros_mean_field_elbo_drops_the_jacobian_of_sigma():
    model, guide, x, y = regression(AutoNormal)
    pyro.set_rng_seed(3)
    trace = poutine.trace(guide).get_trace(x, y)
    jacobian = trace.nodes["sigma"]["fn"].log_density
    ours = loss_of(InformationBottleneckELBO(), model, guide, x, y)
    theirs = loss_of(TraceMeanField_ELBO(), model, guide, x, y)
    assert jacobian.abs() > 0.1
    torch.testing.assert_close(ours - theirs, jacobian)


@pytest.mark.parametrize("beta", [0.0, 0.1, 2.0])
@pytest.mark.parametrize("auto_guide", [AutoNormal, AutoDiagonalNormal])
def test_regression_at_another_beta_weights_prior_and_entropy_alike(auto_guide, beta):
    model, guide, x, y = regression(auto_guide)
    pyro.set_rng_seed(3)
    guide_trace = poutine.trace(guide).get_trace(x, y)
    model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(x, y)
    guide_trace.compute_log_prob()
    model_trace.compute_log_prob()
    fit = model_trace.nodes["obs"]["log_prob_sum"]
    rate = guide_trace.log_prob_sum() - (model_trace.log_prob_sum() - fit)
    elbo = InformationBottleneckELBO(beta)
    torch.testing.assert_close(loss_of(elbo, model, guide, x, y), -fit + beta * rate)


def test_regression_trains_by_svi_as_in_the_tutorial():
    model, guide, x, y = regression(AutoDiagonalNormal)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), InformationBottleneckELBO())
    losses = [svi.step(x, y) for _ in range(40)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_a_users_own_guide_over_a_constrained_site_has_its_analytic_rate():
    """A log-normal posterior over a positive scale, written by hand, in closed form and beside a per-site beta."""
    data = torch.tensor([0.3, -1.2, 0.8], dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)

    def model():
        scale = pyro.sample("scale", dist.LogNormal(0 * one, one))
        with pyro.plate("data", 3):
            pyro.sample("obs", dist.Normal(0 * one, scale), obs=data)

    def guide():
        loc = pyro.param("loc", 0.2 * one)
        width = pyro.param("width", 0.4 * one, constraint=constraints.positive)
        pyro.sample("scale", dist.LogNormal(loc, width))

    torch.testing.assert_close(
        loss_of(InformationBottleneckELBO(), model, guide),
        loss_of(TraceMeanField_ELBO(), model, guide),
        rtol=1e-14,
        atol=0,
    )
    rate = kl_divergence(Normal(0.2 * one, 0.4 * one), Normal(0 * one, one))
    pyro.set_rng_seed(3)
    terms = InformationBottleneckELBO({"scale": 0.3}).terms(model, guide)
    torch.testing.assert_close(terms.rate["scale"], rate)
    torch.testing.assert_close(terms.loss, terms.distortion.sum() + 0.3 * rate)
