"""The ladder VAE and the bottom-up hierarchy that it replaces: rates, bounds, and a fit to small digits."""

import math

import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch.distributions import Normal, kl_divergence

from ib_pyro import InformationBottleneckELBO
from ib_pyro.data import load
from ib_pyro.diagnostics import importance_weighted_log_likelihood
from ib_pyro.elbo import MissingKLError
from models.ladder_vae import LadderVAE, precision_weighted
from models.vae import binarise

SHAPE = (1, 3, 3)
SAMPLED = {"on_no_closed_form": "monte-carlo"}


def program(inference="ladder", units=(4, 2), strength=1.8):
    torch.manual_seed(0)
    made = LadderVAE(SHAPE, units, hidden=7, inference=inference).double()
    with torch.no_grad():
        # Networks at their initial values are nearly constant: layers would hardly depend on each other.
        for parameter in made.parameters():
            parameter.mul_(strength)
    return made


def images(size=5):
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(2, (size, 1, 3, 1), generator=generator).double()
    return binarise((0.05 + 0.9 * rows).expand(-1, *SHAPE), generator)


def loss_of(elbo, made, x, seed=3):
    torch.manual_seed(seed)
    return elbo.differentiable_loss(made.model, made.guide, x, x)


def difference(elbo, made, x, repeats=400, draws=20):
    """Mean and standard error of the loss less that of ``Trace_ELBO`` under the same noise, per image."""
    copies = x.repeat(repeats, 1, 1, 1)
    with torch.no_grad():
        values = torch.stack(
            [
                (loss_of(elbo, made, copies, seed) - loss_of(Trace_ELBO(), made, copies, seed)) / len(copies)
                for seed in range(draws)
            ]
        )
    return values.mean().item(), values.std().item() / draws**0.5


class TestTheLadder:
    @pytest.mark.parametrize("units", [(4,), (4, 2), (4, 3, 2)])
    def test_each_rate_is_in_closed_form(self, units):
        made, x = program(units=units), images()
        terms = InformationBottleneckELBO().terms(made.model, made.guide, x, x)
        names = {f"z{i + 1}" for i in range(len(units))}
        assert set(terms.rate) == names
        assert terms.estimator == dict.fromkeys(names, "analytic")
        assert all(rate.shape == (5,) and (rate > 0).all() for rate in terms.rate.values())

    def test_it_is_pyros_mean_field_elbo_to_the_last_digit(self):
        made, x = program(), images()
        assert loss_of(InformationBottleneckELBO(), made, x) == loss_of(TraceMeanField_ELBO(), made, x)

    def test_it_is_pyros_sampled_elbo_in_expectation(self):
        mean, error = difference(InformationBottleneckELBO(), program(units=(4, 3, 2)), images())
        assert error < 0.02
        assert abs(mean) < 5 * error

    def test_the_rate_of_the_lower_layer_by_hand(self):
        made, x = program(), images()
        torch.manual_seed(3)
        terms = InformationBottleneckELBO().terms(made.model, made.guide, x, x)
        torch.manual_seed(3)
        d1 = made.up[0](x.flatten(1))
        d2 = made.up[1](d1)
        (m1, s1), (m2, s2) = (moments(made.evidence[i](d)) for i, d in enumerate((d1, d2)))
        z2 = m2 + s2 * torch.randn(5, 2, dtype=torch.float64)
        mu, sigma = moments(made.down[0](z2))
        variance = 1 / (s1**-2 + sigma**-2)
        posterior = Normal((m1 / s1**2 + mu / sigma**2) * variance, variance.sqrt())
        rate = kl_divergence(posterior, Normal(mu, sigma)).sum(-1)
        torch.testing.assert_close(terms.rate["z1"], rate)
        top = kl_divergence(Normal(m2, s2), Normal(torch.zeros_like(m2), 1.0)).sum(-1)
        torch.testing.assert_close(terms.rate["z2"], top)


def moments(raw):
    loc, scale = raw.chunk(2, -1)
    return loc, torch.nn.functional.softplus(scale) + 1e-4


class TestBottomUp:
    def test_a_closed_form_is_refused_by_name(self):
        made, x = program("bottom-up"), images()
        with pytest.raises(MissingKLError, match=r"site 'z1'.*'z2'.*later.*monte-carlo"):
            InformationBottleneckELBO().loss(made.model, made.guide, x, x)

    @pytest.mark.parametrize("units", [(4, 2), (4, 3, 2)])
    def test_it_is_pyros_sampled_elbo_in_expectation(self, units):
        made, x = program("bottom-up", units), images()
        mean, error = difference(InformationBottleneckELBO(**SAMPLED), made, x)
        assert abs(mean) < 5 * error
        terms = InformationBottleneckELBO(**SAMPLED).terms(made.model, made.guide, x, x)
        top = f"z{len(units)}"
        assert terms.estimator == {name: "analytic" if name == top else "monte-carlo" for name in terms.rate}

    @pytest.mark.filterwarnings("ignore:Failed to verify mean field restriction")
    def test_the_closed_form_that_pyro_takes_is_too_low(self):
        made = program("bottom-up", strength=1.2)
        with torch.no_grad():
            # Layers that depend on each other more, through their means.
            for weight in (made.up[1][0].weight, made.evidence[1].weight[:2], made.down[0][2].weight[:4]):
                weight.mul_(3)
        mean, error = difference(TraceMeanField_ELBO(), made, images())
        assert mean < -10 * error
        assert mean < -1
        mean, error = difference(InformationBottleneckELBO(**SAMPLED), made, images())
        assert abs(mean) < 5 * error + 1e-9


@pytest.mark.parametrize("inference", ["ladder", "bottom-up"])
def test_elbo_is_below_the_importance_weighted_likelihood_and_that_below_the_truth(inference):
    made, x = program(inference), images(4)
    copies = x.repeat(2000, 1, 1, 1)
    with torch.no_grad():
        torch.manual_seed(0)
        terms = InformationBottleneckELBO(**SAMPLED).terms(made.model, made.guide, copies, copies)
    elbos = -(terms.distortion + sum(terms.rate.values())).unflatten(0, (2000, 4))
    elbo, error = elbos.mean(0), elbos.std(0) / 2000**0.5
    few, many = (
        importance_weighted_log_likelihood(
            made.model, made.guide, copies[: 4 * r], copies[: 4 * r], num_samples=k
        )
        .unflatten(0, (r, 4))
        .mean(0)
        for k, r in ((8, 400), (400, 100))
    )
    truth = log_likelihood_by_prior(made, x, 100_000)
    assert (elbo + 4 * error < few).all()
    assert (few < many).all()
    assert (many < truth + 0.05).all()


@torch.no_grad()
def log_likelihood_by_prior(made, x, num_samples):
    """``log E_{p(z)} p(x|z)`` by plain Monte Carlo, which nine pixels and six latents allow."""
    z2 = torch.randn(num_samples, 2, dtype=torch.float64)
    loc, scale = moments(made.down[0](z2))
    logits = made.decoder(loc + scale * torch.randn_like(loc)).unsqueeze(1)
    log_p = -torch.nn.functional.binary_cross_entropy_with_logits(
        logits.expand(-1, len(x), *SHAPE), x.expand(num_samples, *x.shape), reduction="none"
    )
    return log_p.sum((-3, -2, -1)).logsumexp(0) - math.log(num_samples)


@pytest.mark.parametrize("inference", ["ladder", "bottom-up"])
def test_it_fits_small_digits(inference):
    torch.manual_seed(0)
    made, data = LadderVAE((1, 8, 8), (8, 4), hidden=48, inference=inference), load("digits", "train").x
    optimizer, elbo = torch.optim.Adam(made.parameters(), 3e-3), InformationBottleneckELBO(**SAMPLED)
    losses = []
    for step in range(150):
        x = binarise(data[torch.randint(len(data), (100,))])
        loss = elbo.differentiable_loss(made.model, made.guide, x, x) / len(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        assert math.isfinite(losses[-1]), step
    assert sum(losses[-20:]) / 20 < losses[0] - 8
    x = binarise(load("digits", "test").x[:50])
    with torch.no_grad():
        bound = -sum(loss_of(elbo, made, x, seed).item() for seed in range(10)) / 10 / len(x)
    tighter = importance_weighted_log_likelihood(made.model, made.guide, x, x, num_samples=50).mean().item()
    assert bound < tighter < bound + 15


class TestPrecisionWeighting:
    def test_is_the_normalised_product_of_the_densities(self):
        m, s, mu, sigma = (torch.tensor(v, dtype=torch.float64) for v in (0.3, 0.7, -1.2, 1.5))
        product = Normal(*precision_weighted(m, s, mu, sigma))
        z = torch.linspace(-3, 3, 7, dtype=torch.float64)
        ratio = Normal(m, s).log_prob(z) + Normal(mu, sigma).log_prob(z) - product.log_prob(z)
        torch.testing.assert_close(ratio, ratio[0].expand(7))

    def test_without_evidence_it_is_the_other(self):
        vague = torch.tensor(1e12, dtype=torch.float64)
        m, mu, sigma = (torch.tensor(v, dtype=torch.float64) for v in (5.0, -1.2, 1.5))
        for got, expected in zip(precision_weighted(m, vague, mu, sigma), (mu, sigma), strict=True):
            torch.testing.assert_close(got, expected)


def test_it_dreams_images():
    dreams = program().model(images())
    assert dreams.shape == (5, *SHAPE)
    assert ((dreams == 0) | (dreams == 1)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LadderVAE(inference="sideways"), "inference='sideways' is unknown; choose '"),
        (lambda: LadderVAE(units=()), r"sizes must be positive; got units=\(\)"),
        (lambda: LadderVAE(units=(3, 0)), r"sizes must be positive; got units=\(3, 0\)"),
        (lambda: program().guide(torch.zeros(5, 1, 4, 4)), r"images have shape \(1, 4, 4\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
