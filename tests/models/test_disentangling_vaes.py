"""beta-TCVAE and FactorVAE are a VAE with gamma > 0, term by term."""

import pytest
import torch
from torch.distributions import Normal
from torch.nn import functional as F

from ib_pyro import InformationBottleneckELBO
from ib_pyro.elbo import CriticTotalCorrelation
from ib_pyro.information import (
    DensityRatioCritic,
    critic_step,
    gaussian_total_correlation,
    permute_dims,
    rate_decomposition,
)
from models.ica import ICA
from models.objectives import beta_tcvae, factor_vae
from models.vae import VAE, binarise

SHAPE, UNITS, BATCH, N = (1, 3, 3), 3, 6, 40


def program(num_data=N):
    torch.manual_seed(0)
    network = VAE(
        latent="gaussian", image_shape=SHAPE, num_latent=UNITS, hidden=7, num_data=num_data
    ).double()
    (layer,) = network.stochastic_layers.values()
    with torch.no_grad():
        layer.features.weight.mul_(4)
        layer.noise.bias.sub_(2)
    return network


def images(size=BATCH):
    generator = torch.Generator().manual_seed(1)
    return binarise(torch.rand(size, *SHAPE, dtype=torch.float64, generator=generator), generator)


def evaluate(network, x, noise, fixed_noise, elbo):
    with fixed_noise(z1=noise):
        return elbo.terms(network.model, network.guide, x, x)


def by_hand(network, x, noise):
    """Distortion, posterior and z of the batch in plain PyTorch."""
    (layer,) = network.stochastic_layers.values()
    h = network.encoder.hidden(x.flatten(1))
    posterior = Normal(layer.features(h), F.softplus(layer.noise(h)))
    z = posterior.mean + posterior.stddev * noise
    distortion = F.binary_cross_entropy_with_logits(network.decoder(z), x, reduction="none").sum((1, 2, 3))
    return distortion.mean(), posterior, z


@pytest.mark.parametrize("method", ["stratified", "weighted"])
@pytest.mark.parametrize("beta", [1.0, 6.0])
def test_beta_tcvae_weights_one_term_of_the_decomposition(beta, method, fixed_noise):
    network, x = program(), images()
    noise = torch.randn(BATCH, UNITS, dtype=torch.float64)
    loss = evaluate(network, x, noise, fixed_noise, beta_tcvae(beta, method=method)).loss / N
    distortion, posterior, z = by_hand(network, x, noise)
    log_q = posterior.log_prob(z.unsqueeze(1))
    log_prior = Normal(0.0, 1.0).log_prob(z)
    parts = rate_decomposition(log_q, log_prior, N, method=method)
    chen = (
        distortion + parts.mutual_information + beta * parts.total_correlation + parts.dimension_wise_kl.sum()
    )
    # Ours takes the rate in closed form where theirs is that of the sample, which the three terms sum to exactly.
    sampled = (posterior.log_prob(z) - log_prior).sum(-1).mean()
    closed = (
        0.5 * (posterior.mean.square() + posterior.variance - 1 - posterior.variance.log()).sum(-1).mean()
    )
    torch.testing.assert_close(parts.rate, sampled, rtol=1e-12, atol=0)
    torch.testing.assert_close(loss - closed + sampled, chen, rtol=1e-12, atol=0)


def test_with_all_the_data_in_the_batch_the_three_terms_are_the_rate_in_expectation(fixed_noise):
    network, x = program(num_data=None), images(20)
    copies = 200
    differences = []
    for _ in range(copies):
        noise = torch.randn(20, UNITS, dtype=torch.float64)
        _, posterior, z = by_hand(network, x, noise)
        parts = rate_decomposition(posterior.log_prob(z.unsqueeze(1)), Normal(0.0, 1.0).log_prob(z), 20)
        rate = evaluate(network, x, noise, fixed_noise, InformationBottleneckELBO()).rate["z1"].mean()
        differences.append((parts.rate - rate).detach())
    differences = torch.stack(differences)
    assert differences.mean().abs() < 4 * differences.std() / copies**0.5


@pytest.mark.parametrize("gamma", [0.0, 10.0])
def test_factor_vae_adds_the_mean_logit_of_its_critic(gamma, fixed_noise):
    network, x = program(), images()
    critic = DensityRatioCritic(UNITS, hidden=(8,)).double()
    noise = torch.randn(BATCH, UNITS, dtype=torch.float64)
    terms = evaluate(network, x, noise, fixed_noise, factor_vae(gamma, critic))
    distortion, posterior, z = by_hand(network, x, noise)
    rate = 0.5 * (posterior.mean.square() + posterior.variance - 1 - posterior.variance.log()).sum(-1).mean()
    # D is the critic's probability that z is from the joint: E log D / (1 - D).
    odds = critic(z).sigmoid()
    expected = distortion + rate + gamma * (odds / (1 - odds)).log().mean()
    torch.testing.assert_close(terms.loss / N, expected)
    terms.loss.backward()
    assert all(parameter.grad is None for parameter in critic.parameters())


def test_a_critic_trained_alongside_turns_correlated_units_onto_independent_axes():
    torch.manual_seed(0)
    angle = torch.tensor(0.6, dtype=torch.float64)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).reshape(2, 2)
    x = torch.randn(300, 2, dtype=torch.float64) * torch.tensor([2.0, 0.5]) @ turn.T
    program = ICA(2).double()
    (layer,) = program.stochastic_layers.values()
    layer.features.weight = torch.eye(2, dtype=torch.float64)
    # With nothing to reconstruct from, only the total correlation moves the encoder.
    torch.nn.init.zeros_(program.decoder.weight)
    critic = DensityRatioCritic(2, hidden=(32,)).double()
    theirs = torch.optim.Adam(critic.parameters(), 0.02)
    ours = torch.optim.SGD(program.encoder.parameters(), 0.02)
    elbo = InformationBottleneckELBO(0.0, 1.0, total_correlation=CriticTotalCorrelation(critic))
    left = [gaussian_total_correlation(program.encoder(x)).item()]
    for step in range(90):
        # The critic has a head start: an ignorant one says nothing about where to turn.
        if step >= 40:
            loss = elbo.differentiable_loss(program.model, program.guide, x, x) / len(x)
            ours.zero_grad()
            loss.backward()
            ours.step()
        critic_step(critic, theirs, program.encoder(x))
        left.append(gaussian_total_correlation(program.encoder(x)).item())
    assert left[40] > 0.5
    # The two chase each other around the axes, as such pairs do; on the way they pass it.
    assert min(left[40:]) < 0.05


def test_permuted_samples_have_no_total_correlation_for_the_critic_to_find():
    z = torch.randn(4000, 1, dtype=torch.float64)
    z = torch.cat([z, z + 0.3 * torch.randn_like(z)], 1)
    assert torch.corrcoef(permute_dims(z).T)[0, 1].abs() < 0.06


def test_beta_below_one_is_refused():
    with pytest.raises(ValueError, match="beta weights the total correlation.*got 0.5"):
        beta_tcvae(0.5)
