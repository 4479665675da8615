"""Gaussian, constant, binary and additive noise: their laws, their rates and what they refuse."""

import math

import pyro
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from ib_pyro import Bottleneck, InformationBottleneckELBO, noise_off
from ib_pyro.nn import AdditiveNormal, BinaryDropout, ConstantDropout, GaussianDropout, InformationDropout
from ib_pyro.rates import gaussian_log_uniform_rate

BATCH, WIDTH_IN, WIDTH = 6, 4, 5


@pytest.fixture
def x():
    return torch.randn(BATCH, WIDTH_IN, dtype=torch.float64)


def terms_of(layer, x, beta=1.0):
    program = Bottleneck(layer, nn.Linear(WIDTH, 2).double())
    return InformationBottleneckELBO(beta).terms(program.model, program.guide, x, torch.zeros(len(x)).long())


class TestGaussianDropout:
    def make(self, **options):
        return GaussianDropout.linear(WIDTH_IN, WIDTH, **options).double()

    @pytest.mark.parametrize("approximation", ["kingma", "molchanov"])
    def test_alpha_starts_where_it_is_asked_to_and_is_shared(self, x, approximation):
        layer = self.make(alpha=0.3, approximation=approximation, activation="identity")
        assert layer.alpha.item() == pytest.approx(0.3, rel=1e-6)
        posterior = layer.posterior(x)
        torch.testing.assert_close(posterior.variance, layer.alpha * layer.features(x) ** 2)

    def test_the_rate_by_hand(self, x):
        layer = self.make(alpha=0.3, gate=0.5)
        on = (layer.features(x) > 0).sum(-1)
        rate = gaussian_log_uniform_rate(layer.alpha)
        torch.testing.assert_close(terms_of(layer, x).rate["z1"], on * rate + (WIDTH - on) * math.log(2))

    def test_the_rate_alone_pushes_the_noise_up(self, x):
        layer = self.make(activation="identity")
        terms_of(layer, x).rate["z1"].sum().backward()
        assert layer.raw_alpha.grad < 0
        assert layer.features.weight.grad is None or not layer.features.weight.grad.any()

    def test_kingmas_alpha_never_passes_one(self, x):
        layer = self.make(approximation="kingma")
        nn.init.constant_(layer.raw_alpha, 1e3)
        assert layer.alpha == 1
        assert terms_of(layer, x).loss.isfinite()
        free = self.make()
        nn.init.constant_(free.raw_alpha, 3.0)
        assert free.alpha > 1

    def test_one_alpha_for_each_unit(self, x):
        layer = self.make(units=WIDTH, activation="identity")
        layer.raw_alpha.data = torch.arange(WIDTH).double() - 3
        expected = layer.features(x) ** 2 * (torch.arange(WIDTH).double() - 3).exp()
        torch.testing.assert_close(layer.posterior(x).variance, expected)

    def test_one_alpha_for_each_channel(self):
        layer = GaussianDropout.conv2d(2, 3, 3, units=3, activation="identity")
        layer.raw_alpha.data = torch.arange(3.0)
        images = torch.randn(4, 2, 5, 5)
        expected = layer.features(images) ** 2 * torch.arange(3.0).exp()[:, None, None]
        torch.testing.assert_close(layer.posterior(images).variance, expected)

    def test_a_fixed_alpha_is_no_parameter(self):
        layer = self.make(learn_alpha=False, alpha=0.25)
        assert layer.alpha.item() == pytest.approx(0.25)
        assert set(dict(layer.named_parameters())) == {"features.weight", "features.bias"}
        assert "raw_alpha" in layer.state_dict()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"alpha": 0.0}, "alpha=0.0 is out of range: it must be positive$"),
            ({"alpha": -1.0}, "alpha=-1.0"),
            ({"alpha": math.nan}, "alpha=nan"),
            ({"alpha": 1.0, "approximation": "kingma"}, "alpha=1.0 is out of range.*below 1"),
            ({"gate": 2.0}, "gate is a probability; got 2.0"),
            ({"approximation": "cubic"}, "approximation='cubic' is unknown"),
        ],
    )
    def test_options_out_of_range(self, options, message):
        with pytest.raises(ValueError, match=message):
            self.make(**options)

    def test_units_of_a_wrong_number_name_the_site(self, x):
        with pytest.raises(ValueError, match=r"site 'hidden': units=7, but features give 5 units"):
            self.make(units=7, name="hidden")(x)


class TestConstantDropout:
    def make(self, **options):
        return ConstantDropout.linear(WIDTH_IN, WIDTH, **options).double()

    @pytest.mark.parametrize("alpha", [0.1, 0.7, 2.0])
    def test_the_rate_is_zero_on_and_off_the_atom(self, x, alpha):
        layer = self.make(alpha=alpha)
        assert (layer.features(x) <= 0).any()
        torch.testing.assert_close(
            terms_of(layer, x).rate["z1"], torch.zeros(BATCH, dtype=torch.float64), rtol=0, atol=1e-12
        )

    def test_the_rate_is_constant_in_the_parameters(self, x):
        """Figure 3a's baseline: beta changes nothing."""
        layer = self.make()
        rate = terms_of(layer, x).rate["z1"].sum()
        if rate.requires_grad:
            rate.backward()
        assert all(p.grad is None or not p.grad.any() for p in layer.parameters())

    def test_the_noise_has_its_scale(self, x):
        layer = self.make(alpha=0.4, activation="softplus", unit_mean=True)
        posterior = layer.posterior(x)
        assert (posterior.alpha == 0.4).all()
        torch.testing.assert_close(posterior.mean, F.softplus(layer.features(x)))

    def test_unless_told_its_noise_is_the_largest_that_information_dropout_has_unless_told(self, x):
        layer, learned = self.make(activation="softplus"), InformationDropout.linear(WIDTH_IN, WIDTH).double()
        nn.init.constant_(learned.noise.bias, 1e4)
        torch.testing.assert_close(layer.posterior(x).alpha.expand(BATCH, WIDTH), learned.alpha(x))
        with torch.no_grad():
            log_noise = (
                torch.stack([layer(x) for _ in range(400)]).log() - F.softplus(layer.features(x)).log()
            )
        assert log_noise.std().item() == pytest.approx(0.7, rel=0.03)

    @pytest.mark.parametrize("alpha", [0.0, -0.3, math.nan])
    def test_alpha_out_of_range(self, alpha):
        with pytest.raises(ValueError, match=f"alpha must be positive; got {alpha}"):
            self.make(alpha=alpha)


class TestBinaryDropout:
    def make(self, **options):
        return BinaryDropout.linear(WIDTH_IN, WIDTH, **options).double()

    def test_is_pytorchs_dropout(self, x):
        """Units are kept with probability 1 - p, and then divided by it."""
        layer = self.make(drop_prob=0.3)
        f = F.relu(layer.features(x)).detach()
        z = torch.stack([layer(x).detach() for _ in range(4000)])
        kept = z != 0
        torch.testing.assert_close(z[kept], (f / 0.7).expand_as(z)[kept])
        torch.testing.assert_close(
            kept[:, f > 0].double().mean(), torch.tensor(0.7).double(), rtol=0.01, atol=0
        )

    def test_nothing_is_charged_whatever_beta(self, x):
        for beta in (0.0, 1.0, 10.0):
            with pyro.poutine.seed(rng_seed=1):
                terms = terms_of(self.make(), x, beta)
            assert terms.rate["z1"].tolist() == [0] * BATCH
            torch.testing.assert_close(terms.loss, terms.distortion.sum())

    def test_no_dropout_is_the_network(self, x):
        layer = self.make(drop_prob=0.0)
        torch.testing.assert_close(layer(x), F.relu(layer.features(x)))

    @pytest.mark.parametrize("drop_prob", [-0.1, 1.0, math.nan])
    def test_drop_probability_out_of_range(self, drop_prob):
        with pytest.raises(ValueError, match=rf"drop_prob must be in \[0, 1\); got {drop_prob}"):
            self.make(drop_prob=drop_prob)


class TestAdditiveNormal:
    def make(self, **options):
        return AdditiveNormal.linear(WIDTH_IN, WIDTH, **options).double()

    def test_the_rate_is_that_of_a_vae(self, x):
        layer = self.make()
        posterior = Normal(layer.features(x), F.softplus(layer.noise(x)))
        expected = kl_divergence(posterior, Normal(0.0, 1.0)).sum(-1)
        torch.testing.assert_close(terms_of(layer, x).rate["z1"], expected)

    def test_a_scale_that_underflows_stays_positive(self, x):
        layer = AdditiveNormal.linear(WIDTH_IN, WIDTH)
        nn.init.constant_(layer.noise.bias, -1e4)
        assert (layer.posterior(x.float()).scale > 0).all()
        assert layer(x.float()).isfinite().all()

    def test_noise_off_is_the_mean(self, x):
        layer = self.make()
        with noise_off():
            assert torch.equal(layer(x), layer.features(x))
