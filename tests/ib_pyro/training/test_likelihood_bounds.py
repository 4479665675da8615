"""Bounds of an autoencoder of a single latent, whose likelihood is an integral that quadrature finds."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal

from ib_pyro.training.likelihood_bounds import bounds
from inference.runs.task import TASKS
from models.vae import VAE

COUNT = 40


@pytest.fixture
def program():
    program = VAE(latent="gaussian", image_shape=(1, 2, 2), num_latent=1, hidden=6).double().eval()
    with torch.no_grad():
        # A decoder that says something, and a guide wider than the prior, whose weights are even.
        for parameter in program.decoder.parameters():
            parameter.mul_(3.0)
        program.encoder.z1.noise.weight.zero_()
        program.encoder.z1.noise.bias.fill_(1.0)
    return program


@pytest.fixture
def data():
    ink = torch.rand(COUNT, 1, 1, 1, dtype=torch.float64).expand(-1, 1, 2, 2)
    return torch.bernoulli(ink)


@pytest.fixture
def exact(program, data):
    """log p(x) of each image, and the ELBO, both by quadrature over z."""
    z = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        logits = program.decoder(z)
        joint = torch.stack(
            [
                Bernoulli(logits=logits).log_prob(x).sum((1, 2, 3)) + Normal(0.0, 1.0).log_prob(z[:, 0])
                for x in data
            ]
        )
        step = (z[1] - z[0]).log()
        likelihood = torch.logsumexp(joint, 1) + step
        guide = program.encoder.z1.posterior(program.encoder.hidden(data.flatten(1)))
        log_q = guide.log_prob(z.T)
        elbo = (log_q.exp() * (joint - log_q)).sum(1) * step.exp()
    return likelihood, elbo


def test_the_bounds_are_those_of_quadrature(program, data, exact):
    likelihood, elbo = exact
    found = bounds(program, data, num_samples=150, batch_size=25)
    assert found.elbo == pytest.approx(elbo.mean().item(), abs=0.1)
    assert found.importance_weighted == pytest.approx(likelihood.mean().item(), abs=0.03)
    assert found.gap == pytest.approx((likelihood - elbo).mean().item(), abs=0.1)
    # The tolerances tell the two apart.
    assert (likelihood - elbo).mean() > 0.3
    assert (found.num_images, found.num_importance_samples) == (COUNT, 150)
    assert 15 < found.effective_sample_size < 150


def test_one_importance_sample_is_the_elbo(program, data):
    found = bounds(program, data, num_samples=1)
    assert found.importance_weighted == pytest.approx(found.elbo)
    assert found.effective_sample_size == pytest.approx(1)


def test_the_standard_error_is_that_of_the_mean_over_the_images(program, data, exact):
    likelihood, _ = exact
    found = bounds(program, data, num_samples=100)
    assert found.standard_error == pytest.approx(likelihood.std().item() / math.sqrt(COUNT), rel=0.05)
    fourfold = bounds(program, data.repeat(4, 1, 1, 1), num_samples=100)
    assert fourfold.standard_error == pytest.approx(found.standard_error / 2, rel=0.05)


def test_images_are_drawn_once_for_a_seed_and_anew_for_each_step(stripes):
    grey = stripes
    task = TASKS["reconstruction"]
    once, again, other = (task.observed(grey, seed=seed).x for seed in (0, 0, 1))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    first, target = task.transform(grey.x, grey.y)
    assert target is first
    assert not torch.equal(first, task.transform(grey.x, grey.y)[0])
    for drawn in (once, first):
        assert set(drawn.unique().tolist()) == {0.0, 1.0}
        assert drawn.mean().item() == pytest.approx(grey.x.mean().item(), abs=0.05)


def test_means_over_the_set_are_taken_in_double_precision(program, data, monkeypatch):
    """In single precision the ones would be lost beside the others: 2**24 + 1 is 2**24 there."""

    def single(_model, _guide, x, _y, *, num_samples):
        values = torch.ones(len(x))
        values[::2] = 2.0**24
        return values.expand(num_samples, -1)

    monkeypatch.setattr("ib_pyro.training.likelihood_bounds.importance_log_weights", single)
    found = bounds(program, data, num_samples=3)
    assert found.elbo == found.importance_weighted == (2.0**24 + 1) / 2
