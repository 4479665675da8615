"""Maps of a network whose evidence is known: they find it, follow the weights, and leave the network alone."""

import copy

import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from scipy import integrate
from torch import nn
from torch.distributions import kl_divergence
from torch.nn import functional as F

from ib_pyro import InformationBottleneckELBO
from ib_pyro.attribution import (
    InterpolatedNoise,
    PerSampleAttribution,
    ReadoutAttribution,
    degradation_curves,
    feature_statistics,
    features_at,
    interpolation_rate,
    mean_interval,
    randomised,
    rank_correlation,
    share_inside,
    spread_over_pixels,
)
from ib_pyro.nn import insert

PLACE = "2"


class Share(nn.Module):
    def forward(self, f):
        return torch.linspace(0.05, 0.9, f[0].numel()).view(f.shape[1:]).expand_as(f).to(f)


def first(network):
    return nn.Sequential(*list(network.children())[:3])


@pytest.fixture(scope="session")
def statistics(trained, data):
    return feature_statistics(trained, PLACE, data[0].split(16))


@pytest.fixture(scope="session")
def maps(trained, data, statistics):
    torch.manual_seed(0)
    return PerSampleAttribution(trained, PLACE, statistics)(data[0], data[1])


class TestNoise:
    @pytest.mark.parametrize("keep", [0.0, 0.3, 0.95])
    @pytest.mark.parametrize("deviation", [0.0, -2.0])
    def test_the_rate_is_the_integral(self, keep, deviation):
        loc, scale = 0.7, 1.3
        p = dist.Normal(keep * (loc + scale * deviation) + (1 - keep) * loc, (1 - keep) * scale)
        q = dist.Normal(loc, scale)

        def integrand(z):
            z = torch.tensor(z, dtype=torch.float64)
            return (p.log_prob(z).exp() * (p.log_prob(z) - q.log_prob(z))).item()

        low, high = (p.loc + side * 12 * p.scale for side in (-1, 1))
        expected, _ = integrate.quad(integrand, low, high, epsabs=1e-9, limit=200)
        rate = interpolation_rate(torch.tensor(keep).double(), torch.tensor(deviation).double())
        assert rate.item() == pytest.approx(expected, abs=1e-5)

    def test_the_layer_has_this_rate_and_this_draw(self):
        loc, scale = torch.randn(5).double(), torch.rand(5).double() + 0.5
        layer, f = InterpolatedNoise(Share(), loc, scale), torch.randn(7, 5).double()
        posterior, prior = layer.posterior(f), layer.prior_distribution(torch.Size((5,)))
        keep = layer.keep(f)
        torch.testing.assert_close(
            kl_divergence(posterior, prior.base_dist), interpolation_rate(keep, (f - loc) / scale)
        )
        torch.manual_seed(0)
        z = posterior.rsample()
        torch.manual_seed(0)
        eps = loc + scale * torch.randn(7, 5, dtype=torch.float64)
        torch.testing.assert_close(z, keep * f + (1 - keep) * eps)

    def test_its_program_is_an_ordinary_one(self):
        network = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3)).double()
        layer = InterpolatedNoise(Share(), torch.zeros(5).double(), torch.ones(5).double())
        program = insert(network, {"0": layer})
        x, y = torch.randn(6, 4).double(), torch.arange(6) % 3
        losses = []
        for elbo in (InformationBottleneckELBO(), TraceMeanField_ELBO()):
            torch.manual_seed(0)
            losses.append(elbo.differentiable_loss(program.model, program.guide, x, y).item())
        assert losses[0] == pytest.approx(losses[1], rel=1e-12)
        sampled = [Trace_ELBO().loss(program.model, program.guide, x, y) for _ in range(3000)]
        exact = [InformationBottleneckELBO().loss(program.model, program.guide, x, y) for _ in range(3000)]
        error = torch.tensor(sampled).std() / 3000**0.5
        assert abs(sum(sampled) - sum(exact)) / 3000 < 5 * error

    @pytest.mark.parametrize(("scale", "shape"), [(0.0, 3), (1.0, 4)])
    def test_what_is_refused(self, scale, shape):
        with pytest.raises(ValueError, match="every scale must be positive"):
            InterpolatedNoise(Share(), torch.zeros(3), torch.full((shape,), scale))
        layer = InterpolatedNoise(Share(), torch.zeros(3), torch.ones(3))
        with pytest.raises(ValueError, match=r"a sample of shape \(4,\), but loc has \(3,\)"):
            layer.prior_distribution(torch.Size((4,)))


class TestStatistics:
    @pytest.mark.parametrize("sizes", [[60], [1, 9, 50], [30, 30]])
    def test_they_are_those_of_all_images(self, trained, data, sizes):
        found = feature_statistics(trained, PLACE, data[0].split(sizes), least_scale=1e-6)
        features = first(trained)(data[0]).double()
        torch.testing.assert_close(found.loc.double(), features.mean(0), atol=1e-6, rtol=1e-5)
        expected = features.std(0, correction=0).clamp_min(1e-6)
        torch.testing.assert_close(found.scale.double(), expected, atol=1e-6, rtol=1e-5)
        assert found.num_images == 60

    def test_what_is_refused(self, trained):
        with pytest.raises(ValueError, match="no image to measure"):
            feature_statistics(trained, PLACE, [])
        with pytest.raises(ValueError, match="module '22' is unknown"):
            features_at(trained, ["22"], torch.zeros(1, 1, 16, 16))
        trained.add_module("unused", nn.Linear(1, 1))
        trained.forward = lambda x: nn.Sequential(*list(trained.children())[:-1])(x)
        try:
            with pytest.raises(ValueError, match="'unused': the network does not come to this place"):
                features_at(trained, ["unused"], torch.zeros(1, 1, 16, 16))
        finally:
            del trained.forward, trained.unused
        sizes = [torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 8, 8)]
        with pytest.raises(ValueError, match=r"features of shape \(6, 4, 4\) after \(6, 8, 8\)"):
            feature_statistics(first(trained), PLACE, sizes)


class TestPerSample:
    def test_the_map_is_where_the_evidence_is(self, trained, data, maps):
        x, y, inside = data
        assert maps.rate.shape == (60, 8, 8)
        share = share_inside(maps.over_pixels((16, 16)), inside)
        # The square is a sixteenth of the image.
        assert share.mean() > 3 / 16
        assert maps.distortion.mean() < 1.0

    def test_the_rate_falls_and_the_answer_stays(self, trained, data, statistics):
        x, y, _ = data
        few, many = (PerSampleAttribution(trained, PLACE, statistics, steps=n)(x, y) for n in (1, 12))
        assert many.rate.sum() < 0.5 * few.rate.sum()

    def test_a_larger_beta_leaves_less(self, trained, data, statistics, maps):
        rates = []
        for beta in (0.0, 0.02, 2.0):
            rates.append(
                PerSampleAttribution(trained, PLACE, statistics, beta=beta, steps=15)(*data[:2]).rate.sum()
            )
        assert rates[0] > rates[1] > rates[2] >= 0

    def test_images_do_not_see_one_another(self, trained, data, statistics):
        x, y, _ = data
        attribution = PerSampleAttribution(trained, PLACE, statistics, draws=40)
        together = attribution(x[:6], y[:6]).rate
        alone = torch.cat([attribution(x[n : n + 1], y[n : n + 1]).rate for n in range(6)])
        assert rank_correlation(together, alone).min() > 0.7

    def test_the_network_is_left_as_it_was(self, trained, data, statistics):
        network = copy.deepcopy(trained).train()
        network[0].weight.requires_grad_(False)
        state = copy.deepcopy(network.state_dict())
        with torch.no_grad():
            PerSampleAttribution(network, PLACE, statistics)(data[0][:2])
        assert network.training
        assert [p.requires_grad for p in network.parameters()] == [False, True, True, True, True, True]
        assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())
        assert all(p.grad is None for p in network.parameters())

    def test_by_default_it_is_about_what_the_network_sees(self, trained, data, statistics):
        attribution = PerSampleAttribution(trained, PLACE, statistics)
        predicted = trained(data[0]).argmax(-1)
        assert torch.equal(attribution.classes(data[0], None), predicted)
        torch.manual_seed(0)
        one = attribution(data[0], predicted).rate
        torch.manual_seed(0)
        assert torch.equal(one, attribution(data[0]).rate)

    def test_random_weights_have_another_map(self, trained, data, statistics, maps):
        x, y, _ = data
        other = randomised(trained)
        measured = feature_statistics(other, PLACE, [x])
        changed = PerSampleAttribution(other, PLACE, measured)(x, y)
        again = PerSampleAttribution(trained, PLACE, statistics)(x, y)
        same, different = (rank_correlation(maps.rate, m.rate).nanmean() for m in (again, changed))
        assert same > 0.8
        assert different < 0.5

    def test_noise_of_information_dropout(self, trained, data, statistics):
        x, y, _ = data
        features = features_at(trained, [PLACE], x)[PLACE]
        off = (features == 0).all(1)
        rates = []
        for steps in (1, 20):
            attribution = PerSampleAttribution(trained, PLACE, statistics, noise="log-normal", steps=steps)
            found = attribution(x, y)
            assert not found.rate[off].any()
            assert (found.rate >= 0).all()
            rates.append(found.rate.sum())
        assert 0 < rates[1] < 0.1 * rates[0]
        assert found.distortion.mean() < 0.1

    def test_tokens_have_maps_of_positions(self):
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        class Classifier(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed, self.encoder, self.head = nn.Embedding(9, 8), layer, nn.Linear(8, 3)

            def forward(self, x):
                return self.head(self.encoder(self.embed(x)).mean(1))

        network, x = Classifier(), torch.randint(9, (4, 5))
        measured = feature_statistics(network, "encoder", [x])
        found = PerSampleAttribution(network, "encoder", measured, steps=2, draws=2)(x)
        assert found.rate.shape == (4, 5)
        with pytest.raises(ValueError, match="maps of tokens have no pixels"):
            found.over_pixels((2, 2))
        with pytest.raises(ValueError, match="not those of images; use PerSampleAttribution"):
            ReadoutAttribution(network, "encoder", measured)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"noise": "normal"}, "noise='normal' is unknown; did you mean 'log-normal'"),
            ({"beta": -1.0}, "beta must not be negative; got -1.0"),
            ({"steps": 0}, "steps and draws must be at least 1"),
        ],
        ids=["noise", "beta", "steps"],
    )
    def test_what_is_refused(self, trained, statistics, options, message):
        with pytest.raises(ValueError, match=message):
            PerSampleAttribution(trained, PLACE, statistics, **options)


class TestReadout:
    def test_it_learns_where_the_evidence_is(self, trained, data, statistics):
        x, y, inside = data
        torch.manual_seed(0)
        attribution = ReadoutAttribution(trained, PLACE, statistics, read=["2", "4", "6"], hidden=16)
        losses = attribution.fit([(x[:40], y[:40])], epochs=300)
        assert losses[-1] < losses[0]
        found = attribution(x[40:])
        assert found.rate.shape == (20, 8, 8)
        assert share_inside(found.over_pixels((16, 16)), inside[40:]).mean() > 3 / 16
        assert all(p.grad is None and p.requires_grad for p in trained.parameters())


class TestMaps:
    def test_spread_over_pixels_keeps_the_sum(self):
        rate = torch.rand(3, 4, 5).double()
        wide = spread_over_pixels(rate, (16, 23))
        torch.testing.assert_close(wide.sum((1, 2)), rate.sum((1, 2)))
        assert not spread_over_pixels(torch.zeros(1, 2, 2), (4, 4)).any()
        torch.testing.assert_close(
            spread_over_pixels(torch.ones(1, 2, 2), (4, 4)), torch.full((1, 4, 4), 0.25)
        )

    def test_share_inside(self):
        maps, inside = torch.ones(2, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool)
        inside[1, :2] = True
        assert share_inside(maps, inside).tolist() == [0, 0.5]
        with pytest.raises(ValueError, match=r"not be negative \(min -1\)"):
            share_inside(-maps, inside)

    def test_mean_interval(self):
        mean, half = mean_interval(torch.tensor([1.0, 2.0, 3.0]))
        assert (mean, half) == pytest.approx((2.0, 4.302652729911275 / 3**0.5))
        with pytest.raises(ValueError, match="at least two"):
            mean_interval(torch.ones(1))


class Sum(nn.Module):
    """The probability of class 1 is a function of how many pixels of the first column are bright."""

    def forward(self, x):
        score = x[:, 0, :, 0].sum(1)
        return torch.stack([torch.zeros_like(score), score], 1)


class TestDegradation:
    def test_curves_of_a_map_that_is_right(self):
        x, y = torch.ones(2, 1, 4, 4), torch.ones(2, dtype=torch.long)
        maps = torch.zeros(2, 4, 4)
        maps[0, :, 0], maps[1, :, 3] = 1, 1
        found = degradation_curves(Sum().eval(), x, y, maps, steps=4)
        levels = torch.arange(5.0).sigmoid()
        torch.testing.assert_close(found.deletion[0], torch.tensor([levels[4], 0.5, 0.5, 0.5, 0.5]))
        torch.testing.assert_close(found.insertion[0], torch.tensor([0.5, *[levels[4]] * 4]))
        assert found.deletion_area[0] < found.deletion_area[1]
        assert found.insertion_area[0] > found.insertion_area[1]
        torch.testing.assert_close(found.deletion_area[0], (levels[4] + 0.5) / 8 + 0.5 * 0.75)

    def test_equal_ranks_are_taken_at_random(self):
        x, y, maps = torch.ones(1, 1, 4, 4), torch.ones(1, dtype=torch.long), torch.zeros(1, 4, 4)
        one, two, other = (
            degradation_curves(Sum().eval(), x, y, maps, steps=16, seed=seed).deletion for seed in (0, 0, 1)
        )
        assert torch.equal(one, two)
        assert not torch.equal(one, other)

    def test_what_is_refused(self):
        x, y = torch.ones(1, 1, 4, 4), torch.ones(1, dtype=torch.long)
        with pytest.raises(ValueError, match=r"finite values \[1, 4, 4\]"):
            degradation_curves(Sum().eval(), x, y, torch.full((1, 4, 4), float("nan")))
        with pytest.raises(ValueError, match="training mode"):
            degradation_curves(Sum(), x, y, torch.zeros(1, 4, 4))


class TestRandomisation:
    def test_weights_are_others_and_the_network_is_not(self, trained):
        before = copy.deepcopy(trained.state_dict())
        state = torch.get_rng_state()
        one, two = randomised(trained, seed=1), randomised(trained, seed=1)
        assert torch.equal(state, torch.get_rng_state())
        for key, value in one.state_dict().items():
            assert torch.equal(value, two.state_dict()[key])
            assert not torch.equal(value, before[key])
            assert torch.equal(before[key], trained.state_dict()[key])
        part = randomised(trained, only="6")
        assert torch.equal(part[0].weight, trained[0].weight)
        assert not torch.equal(part[6].weight, trained[6].weight)

    def test_a_module_that_cannot_be_reset_is_named(self):
        class Own(nn.Module):
            def __init__(self):
                super().__init__()
                self.scale = nn.Parameter(torch.ones(1))

        with pytest.raises(
            ValueError, match=r"1: parameters \['scale'\] of a module without reset_parameters"
        ):
            randomised(nn.Sequential(nn.Linear(1, 1), Own()))

    def test_rank_correlation(self):
        one = torch.arange(6.0).view(1, 2, 3).repeat(3, 1, 1)
        other = torch.stack([one[0].exp(), -one[0], torch.zeros(2, 3)])
        found = rank_correlation(one, other)
        assert found[:2].tolist() == pytest.approx([1.0, -1.0])
        assert found[2].isnan()


@pytest.mark.slow
class TestBesideCaptum:
    """At least as good as the methods of Captum that people use, on evidence that is known."""

    def test_the_map_finds_the_square_better_than_the_gradient(self, trained, data, maps):
        captum = pytest.importorskip("captum.attr")
        x, y, inside = data
        gradient = captum.Saliency(trained).attribute(x.requires_grad_(), target=y)[:, 0].detach()
        ours = share_inside(maps.over_pixels((16, 16)), inside)
        x.requires_grad_(False)
        assert ours.mean() > share_inside(gradient, inside).mean()
        assert F.cross_entropy(trained(x), y) < 0.5
