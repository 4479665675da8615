"""The VAE, Gaussian and Information: Table 1's sizes, Pyro's ELBO to the last digit, and a valid bound."""

import math

import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import nn
from torch.nn import functional as F

from ib_pyro import InformationBottleneckELBO
from ib_pyro.diagnostics import importance_weighted_log_likelihood
from ib_pyro.priors import VampPrior
from models.objectives import beta_vae
from models.vae import VAE, binarise

SHAPE = (1, 3, 3)
LATENTS = ["gaussian", "information"]


def program(latent="gaussian", **options):
    torch.manual_seed(0)
    return VAE(latent=latent, image_shape=SHAPE, num_latent=4, hidden=7, **options).double()


def images(size=5):
    generator = torch.Generator().manual_seed(1)
    # Rows that are mostly on or mostly off, so that there is something to encode.
    rows = torch.randint(2, (size, 1, 3, 1), generator=generator).double()
    return binarise((0.05 + 0.9 * rows).expand(-1, *SHAPE), generator)


def loss_of(elbo, network, x, seed=3):
    torch.manual_seed(seed)
    return elbo.differentiable_loss(network.model, network.guide, x, x)


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.parametrize("k", [1, 3])
def test_sizes_are_those_of_table_1(latent, k):
    network = VAE(k=k, latent=latent)
    (layer,) = network.stochastic_layers.values()
    encoder = [m for m in network.encoder.hidden.modules() if isinstance(m, nn.Linear)]
    decoder = [m for m in network.decoder.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in encoder] == [(784, 512 * k)]
    assert (layer.features.in_features, layer.features.out_features) == (512 * k, 256 * k)
    assert (layer.noise.in_features, layer.noise.out_features) == (512 * k, 256 * k)
    assert [(m.in_features, m.out_features) for m in decoder] == [(256 * k, 512 * k), (512 * k, 784)]
    assert list(network.stochastic_layers) == ["z1"]


@pytest.mark.parametrize("latent", LATENTS)
def test_it_is_pyros_mean_field_elbo_to_the_last_digit(latent):
    network, x = program(latent), images()
    assert loss_of(InformationBottleneckELBO(), network, x) == loss_of(TraceMeanField_ELBO(), network, x)


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_beta_vae_by_hand(beta, fixed_noise):
    network, x = program(), images()
    noise = torch.randn(5, 4, dtype=torch.float64)
    with fixed_noise(z1=noise):
        loss = beta_vae(beta).differentiable_loss(network.model, network.guide, x, x)
    (layer,) = network.stochastic_layers.values()
    h = network.encoder.hidden(x.flatten(1))
    mean, scale = layer.features(h), F.softplus(layer.noise(h))
    logits = network.decoder(mean + scale * noise)
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    kl = -0.5 * (1 + 2 * scale.log() - mean.square() - scale.square()).sum()
    torch.testing.assert_close(loss, reconstruction + beta * kl)


@pytest.mark.parametrize("beta", [1.0, 2.5])
def test_information_vae_by_hand(beta, fixed_noise):
    network, x = program("information"), images()
    (layer,) = network.stochastic_layers.values()
    with torch.no_grad():
        layer.prior_loc.fill_(-0.4)
        layer.prior_log_scale.fill_(0.3)
    loss = loss_of(beta_vae(beta), network, x)
    torch.manual_seed(3)
    noise = torch.randn(5, 4, dtype=torch.float64)
    h = network.encoder.hidden(x.flatten(1))
    f, alpha = F.softplus(layer.features(h)), 1e-3 + 0.699 * torch.sigmoid(layer.noise(h))
    logits = network.decoder(f * (alpha * noise).exp())
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    mu, sigma = -0.4, math.exp(0.3)
    kl = (alpha**2 + (f.log() - mu) ** 2) / (2 * sigma**2) - (alpha / sigma).log() - 0.5
    torch.testing.assert_close(loss, reconstruction + beta * kl.sum())


def test_prior_of_the_information_vae_is_learned_as_one_pair():
    network, x = program("information"), images()
    (layer,) = network.stochastic_layers.values()
    assert layer.prior_loc.shape == layer.prior_log_scale.shape == ()
    loss_of(InformationBottleneckELBO(), network, x).backward()
    assert layer.prior_loc.grad != 0
    assert layer.prior_log_scale.grad != 0
    # At the best prior, its moments are those of log z: the derivatives of the rate vanish.
    torch.manual_seed(0)
    posterior = layer.posterior(network.encoder.hidden(x.flatten(1)))
    loc = posterior.loc.mean()
    scale = (posterior.alpha.square() + (posterior.loc - loc).square()).mean().sqrt()
    with torch.no_grad():
        layer.prior_loc.copy_(loc)
        layer.prior_log_scale.copy_(scale.log())
    layer.zero_grad()
    loss_of(InformationBottleneckELBO(), network, x).backward()
    assert layer.prior_loc.grad.abs() < 1e-12
    assert layer.prior_log_scale.grad.abs() < 1e-12


@pytest.fixture(scope="module", params=LATENTS)
def trained(request):
    """A program after some steps: importance sampling wants a guide near the posterior, which has not collapsed."""
    options = {"alpha_max": 1.5} if request.param == "information" else {}
    with torch.random.fork_rng():
        network, x = program(request.param, **options), images(64)
        optimizer = torch.optim.Adam(network.parameters(), 0.05)
        elbo = InformationBottleneckELBO(beta=0.5)
        losses = []
        for _ in range(60):
            loss = elbo.differentiable_loss(network.model, network.guide, x, x) / len(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return network, losses


def test_steps_lower_the_loss(trained):
    _, losses = trained
    assert losses[-1] < losses[0] - 0.3


def test_elbo_is_below_the_importance_weighted_likelihood_and_that_below_the_truth(trained):
    network, x = trained[0], images(4)
    copies = x.repeat(2000, 1, 1, 1)
    with torch.no_grad():
        terms = InformationBottleneckELBO().terms(network.model, network.guide, copies, copies)
    elbos = -(terms.distortion + terms.rate["z1"]).unflatten(0, (2000, 4))
    elbo, elbo_error = elbos.mean(0), elbos.std(0) / 2000**0.5
    few, many = (
        importance_weighted_log_likelihood(
            network.model, network.guide, copies[: 4 * r], copies[: 4 * r], num_samples=k
        )
        .unflatten(0, (r, 4))
        .mean(0)
        for k, r in ((8, 400), (200, 100))
    )
    truth = log_likelihood_by_prior(network, x, 100_000)
    assert (elbo + 4 * elbo_error < few).all()
    assert (few < many).all()
    assert (many < truth + 0.02).all()
    torch.testing.assert_close(many, truth, atol=0.15, rtol=0)


@torch.no_grad()
def log_likelihood_by_prior(network, x, num_samples):
    """``log E_{q(z)} p(x|z)`` by plain Monte Carlo, which nine pixels and four latents allow."""
    (layer,) = network.stochastic_layers.values()
    z = layer.prior_distribution(torch.Size([4])).expand([num_samples]).sample()
    logits = network.decoder(z).unsqueeze(1)
    log_p = -F.binary_cross_entropy_with_logits(
        logits.expand(-1, len(x), *SHAPE), x.expand(num_samples, *x.shape), reduction="none"
    )
    return log_p.sum((-3, -2, -1)).logsumexp(0) - math.log(num_samples)


@pytest.mark.parametrize("latent", LATENTS)
def test_pyros_sampled_elbo_has_the_same_expectation(latent):
    network, x = program(latent), images().repeat(500, 1, 1, 1)
    with torch.no_grad():
        ours = loss_of(InformationBottleneckELBO(), network, x) / len(x)
        sampled = loss_of(Trace_ELBO(), network, x, seed=4) / len(x)
    assert (ours - sampled).abs() < 0.2


@pytest.mark.parametrize("latent", LATENTS)
def test_both_priors_are_proper_so_that_images_can_be_dreamt(latent):
    network = program(latent)
    dreams = network.model(images())
    assert dreams.shape == (5, *SHAPE)
    assert ((dreams == 0) | (dreams == 1)).all()


def test_binarised_pixels_have_the_grey_value_as_their_mean():
    x = torch.tensor([0.0, 0.25, 0.8, 1.0], dtype=torch.float64).expand(20_000, 4)
    drawn = binarise(x, torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.float64
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(drawn.mean(0), x[0], atol=0.01, rtol=0)
    assert torch.equal(drawn, binarise(x, torch.Generator().manual_seed(0)))
    state = torch.get_rng_state()
    binarise(x, torch.Generator().manual_seed(1))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: VAE(latent="laplace"), "latent='laplace' is unknown; choose '"),
        (lambda: VAE(k=0), "sizes must be positive; got k=0"),
        (lambda: VAE(latent="gaussian", alpha_max=0.5), r"'gaussian' has no options \['alpha_max'\]"),
        (lambda: binarise(torch.tensor([0.5, 1.5])), r"in \[0, 1\]; they reach from 0.5 to 1.5"),
        (lambda: program().guide(torch.zeros(5, 1, 4, 4)), r"images have shape \(1, 4, 4\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.parametrize("likelihood", ["continuous-bernoulli", "discretized-logistic"])
def test_grey_images_by_hand(latent, likelihood):
    """The loss is that of Pyro with the same laws, and training lowers it."""
    x = torch.randint(256, (6, *SHAPE)).double() / 255
    network = program(latent, likelihood=likelihood)
    torch.manual_seed(3)
    terms = InformationBottleneckELBO().terms(network.model, network.guide, x, x)
    torch.manual_seed(3)
    output = network.decoder(network.latents(x)["z1"])
    if likelihood == "continuous-bernoulli":
        density = torch.distributions.ContinuousBernoulli(logits=output).log_prob(x)
    else:
        mean, scale = output
        high = torch.where(x < 1, torch.sigmoid((x + 1 / 510 - mean) / scale), torch.ones_like(x))
        low = torch.where(x > 0, torch.sigmoid((x - 1 / 510 - mean) / scale), torch.zeros_like(x))
        density = (high - low).log()
    torch.testing.assert_close(terms.distortion, -density.flatten(1).sum(1))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(50):
        optimizer.zero_grad()
        loss = InformationBottleneckELBO().differentiable_loss(network.model, network.guide, x, x)
        loss.backward()
        optimizer.step()
    assert loss < terms.loss


@pytest.mark.parametrize("latent", LATENTS)
def test_another_prior(latent):
    prior = VampPrior(images(3), bounds=(0.0, 1.0))
    network, x = program(latent, prior=prior), images()
    elbo = InformationBottleneckELBO(on_no_closed_form="monte-carlo")
    assert elbo.terms(network.model, network.guide, x, x).estimator == {"z1": "monte-carlo"}
    assert any(p is prior.pseudo_inputs for p in network.parameters())
    assert network.model(x).shape == x.shape


def test_a_likelihood_that_is_no_images_is_refused():
    with pytest.raises(ValueError, match="likelihood='poisson' is unknown; choose 'bernoulli'"):
        program(likelihood="poisson")


def test_the_exponential_link_and_a_prior_per_unit():
    network, x = program("information", link="exponential", prior_per_unit=True), images()
    layer = network.stochastic_layers["z1"]
    assert layer.activation == "exponential"
    assert layer.prior_loc.shape == layer.prior_log_scale.shape == (4,)
    assert loss_of(InformationBottleneckELBO(), network, x) == loss_of(TraceMeanField_ELBO(), network, x)


def test_gaussian_latents_have_neither():
    for options in ({"link": "exponential"}, {"prior_per_unit": True}):
        with pytest.raises(ValueError, match="latent='gaussian' has neither link=.* information dropout's"):
            program("gaussian", **options)
