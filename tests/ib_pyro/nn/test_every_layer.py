"""What this package's layers owe beside the public contract, to which ``test_layer_contract.py`` holds them."""

import math
from collections import OrderedDict

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from pyro.nn import PyroModule
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO, noise_off
from ib_pyro.nn import (
    AdditiveNormal,
    BinaryDropout,
    ConstantDropout,
    GaussianDropout,
    InformationDropout,
)

BATCH, WIDTH_IN, WIDTH = 5, 4, 3


def sites_of(program, *args):
    trace = poutine.trace(program).get_trace(*args)
    return {name: node for name, node in trace.nodes.items() if node["type"] == "sample"}


class LayerContract:
    """What each of these layers owes. A subclass sets ``layer`` and, where they differ, the facts below it."""

    layer: type
    options: dict = {}
    # Whether the prior has a law that can be sampled, and whether f(x) must not be negative.
    proper_prior = False
    non_negative = True

    def make(self, **options):
        return self.layer.linear(WIDTH_IN, WIDTH, **{**self.options, **options})

    @pytest.fixture
    def x(self):
        return torch.randn(BATCH, WIDTH_IN)

    def f(self, layer, x):
        """The noise-free value."""
        return layer._activate(layer.features(x))

    def test_emits_exactly_one_site(self, x):
        layer = self.make(name="hidden")
        sites = sites_of(layer, x)
        assert list(sites) == [layer.site_name] == ["hidden"]
        assert sites["hidden"]["value"].shape == (BATCH, WIDTH)
        assert not sites["hidden"]["is_observed"]

    def test_the_site_has_the_shape_of_a_plate(self, x):
        def program():
            with pyro.plate("data", BATCH, dim=-1):
                self.make()(x)

        fn = sites_of(program)["z"]["fn"]
        assert (fn.batch_shape, fn.event_shape) == ((BATCH,), (WIDTH,))

    def test_posterior_and_prior_are_elementwise_and_whole(self, x):
        layer = self.make()
        assert layer.posterior(x).batch_shape == (BATCH, WIDTH)
        prior = layer.prior_distribution(torch.Size([WIDTH]))
        assert (prior.batch_shape, prior.event_shape) == ((), (WIDTH,))

    def test_is_a_plain_layer_without_pyro(self, x):
        network = nn.Sequential(nn.Linear(WIDTH_IN, WIDTH_IN), self.make(), nn.Linear(WIDTH, 2))
        y = network(x)
        assert y.shape == (BATCH, 2)
        assert not torch.equal(y, network(x))
        y.sum().backward()
        assert not list(pyro.get_param_store())

    def test_two_in_a_plain_network_do_not_clash(self, x):
        second = self.layer.linear(WIDTH, WIDTH, **self.options)
        assert nn.Sequential(self.make(), second)(x).shape == (BATCH, WIDTH)

    def test_has_the_modules_own_name_in_a_pyro_module(self, x):
        network = PyroModule[nn.Sequential](OrderedDict(first=self.make(), second=nn.Linear(WIDTH, 2)))
        assert list(sites_of(network, x)) == ["first"]

    def test_an_optimiser_finds_its_parameters_in_a_pyro_module(self, x):
        network = PyroModule[nn.Sequential](OrderedDict(z=self.make()))
        learned = {id(p) for p in network.parameters() if p.requires_grad}

        def model():
            with pyro.plate("data", BATCH, dim=-1):
                z = network.z.sample_prior(torch.Size([WIDTH]))
                pyro.sample("y", dist.Normal(z.sum(-1), 1.0), obs=torch.zeros(BATCH))

        def guide():
            with pyro.plate("data", BATCH, dim=-1):
                network(x)

        # The forward pass and the prior are what touch parameters; their values do not matter here.
        with poutine.trace(param_only=True) as trace:
            guide_trace = poutine.trace(guide).get_trace()
            poutine.replay(model, trace=guide_trace)()
        found = {
            id(node["value"].unconstrained())
            for node in trace.trace.nodes.values()
            if node["type"] == "param"
        }
        assert learned <= found

    def test_gradients_reach_every_parameter(self, x):
        layer = self.make()
        layer(x).square().sum().backward()
        for name, parameter in layer.named_parameters():
            if parameter.requires_grad and "prior" not in name:
                assert parameter.grad is not None, name
                assert parameter.grad.abs().sum() > 0, name

    def test_dtype_may_change_after_the_prior_was_used(self, x):
        layer = self.make()
        program = Bottleneck(layer, nn.Linear(WIDTH, 2))
        y = torch.zeros(BATCH).long()
        for dtype in (torch.float32, torch.float64, torch.float32):
            program.to(dtype)
            loss = Trace_ELBO().differentiable_loss(program.model, program.guide, x.to(dtype), y)
            assert loss.dtype == dtype

    def test_noise_off_gives_f(self, x):
        layer = self.make()
        with noise_off():
            z = layer(x)
        torch.testing.assert_close(z, self.f(layer, x))
        assert not torch.equal(layer(x), z)

    def test_convolution(self):
        layer = self.layer.conv2d(2, 6, 3, stride=2, padding=1, **self.options)
        x = torch.randn(BATCH, 2, 8, 8)
        with pyro.plate("data", BATCH, dim=-1), poutine.trace() as trace:
            z = layer(x)
        fn = trace.trace.nodes["z"]["fn"]
        assert z.shape == (BATCH, 6, 4, 4)
        assert (fn.batch_shape, fn.event_shape) == ((BATCH,), (6, 4, 4))
        with noise_off():
            torch.testing.assert_close(layer(x), self.f(layer, x))

    def test_convolution_of_volumes(self):
        layer = self.layer.conv3d(2, 4, 3, stride=2, padding=1, batch_norm=True, **self.options)
        x = torch.randn(BATCH, 2, 6, 6, 4)
        with pyro.plate("data", BATCH, dim=-1), poutine.trace() as trace:
            z = layer(x)
        fn = trace.trace.nodes["z"]["fn"]
        assert z.shape == (BATCH, 4, 3, 3, 2)
        assert (fn.batch_shape, fn.event_shape) == ((BATCH,), (4, 3, 3, 2))
        assert isinstance(layer.features[1], nn.BatchNorm3d)
        with noise_off():
            torch.testing.assert_close(layer(x), self.f(layer, x), rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize(
        ("reshape", "event"),
        [(nn.Flatten(), (50,)), (nn.Sequential(nn.Flatten(), nn.Unflatten(1, (5, 10))), (5, 10))],
    )
    def test_reshaped_features(self, reshape, event):
        branches = [
            nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), reshape)
            for _ in range(1 + hasattr(self.make(), "noise"))
        ]
        layer = self.layer(*branches, **self.options)
        with pyro.plate("data", BATCH, dim=-1), poutine.trace() as trace:
            layer(torch.randn(BATCH, 1, 5, 5))
        fn = trace.trace.nodes["z"]["fn"]
        assert (fn.batch_shape, fn.event_shape) == ((BATCH,), event)

    @pytest.mark.parametrize("conv", [False, True])
    def test_constructors_with_batch_norm(self, conv):
        options = {"batch_norm": True, **self.options}
        layer = self.layer.conv2d(2, 6, 3, **options) if conv else self.layer.linear(4, 6, **options)
        norms = [m for m in layer.features.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        maps = [m for m in layer.features.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        assert len(norms) == len(maps) == 1
        assert maps[0].bias is None
        assert layer(torch.randn(7, 2, 5, 5) if conv else torch.randn(7, 4)).shape[:2] == (7, 6)
        plain = self.layer.linear(4, 6, bias=False, **self.options)
        assert plain.features.bias is None
        if hasattr(
            plain, "noise"
        ):  # the branch of the noise has neither batch norm of its own nor less of a bias
            assert plain.noise.bias is not None
            assert not any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in layer.noise.modules())

    def test_many_batch_dimensions(self):
        """As under vectorised particles: one sample's own dimensions are those of the linear map."""
        layer, x = self.make(), torch.randn(7, BATCH, WIDTH_IN)
        with pyro.plate("particles", 7, dim=-2), pyro.plate("data", BATCH, dim=-1):
            fn = sites_of(layer, x)["z"]["fn"]
        assert (fn.batch_shape, fn.event_shape) == ((7, BATCH), (WIDTH,))

    def test_an_empty_prior_predictive_says_what_to_do(self):
        layer = self.make(name="hidden")
        if self.proper_prior:
            assert layer.sample_prior(torch.Size([WIDTH])).shape == (WIDTH,)
            return
        with pytest.raises(NotImplementedError, match=r"site 'hidden'.*proper prior.*predict"):
            layer.sample_prior(torch.Size([WIDTH]))

    def test_nan_names_the_site(self, x):
        layer = self.make(name="hidden")
        with pytest.raises(ValueError, match=r"site 'hidden': .*NaN"):
            layer(x * math.nan)

    def test_negative_activations_name_the_site(self, x):
        if not self.non_negative:
            return
        layer = self.make(name="hidden", activation=lambda h: -1 - h.square())
        with pytest.raises(
            ValueError, match=r"site 'hidden': activation has values out of range \(min -\d.*relu"
        ):
            layer(x)

    def test_a_single_sample_is_refused(self, x):
        with pytest.raises(ValueError, match=r"site 'hidden': an output of shape \(3,\).*pass a batch"):
            self.make(name="hidden")(x[0])

    def test_unknown_options_are_refused(self):
        with pytest.raises(TypeError):
            self.make(alpha_maximum=0.3)
        with pytest.raises(ValueError, match="event_dim must be at least 1"):
            self.make(event_dim=0)

    def test_an_unknown_activation_says_the_known_ones(self):
        if self.layer is AdditiveNormal:
            return
        with pytest.raises(
            ValueError, match=r"activation='gelu' is unknown.*'identity', 'relu' or 'softplus'"
        ):
            self.make(activation="gelu")

    def test_one_step_of_svi(self, x):
        program = Bottleneck(self.make(), nn.Linear(WIDTH, 2))
        svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO())
        before = {name: value.clone() for name, value in program.state_dict().items()}
        svi.step(x, torch.tensor([0, 1, 1, 0, 1]))
        for name, parameter in program.named_parameters():
            assert torch.equal(parameter, before[name]) != parameter.requires_grad, name


class TestInformationDropout(LayerContract):
    layer = InformationDropout


class TestInformationDropoutWithSoftplus(LayerContract):
    layer = InformationDropout
    options = {"activation": "softplus", "prior": "log-normal"}
    proper_prior = True

    def make(self, **options):
        # A custom activation has no promise to be positive, which is what the log-normal prior asks for.
        return super().make(**options)


class TestInformationDropoutIgnoringTheAtom(LayerContract):
    layer = InformationDropout
    options = {"atom": "ignore", "unit_mean": True}


class TestConstantDropout(LayerContract):
    layer = ConstantDropout


class TestGaussianDropout(LayerContract):
    layer = GaussianDropout
    non_negative = False


class TestGaussianDropoutOfKingma(LayerContract):
    layer = GaussianDropout
    options = {"approximation": "kingma", "learn_alpha": False}
    non_negative = False


class TestBinaryDropout(LayerContract):
    layer = BinaryDropout
    options = {"drop_prob": 0.3}
    non_negative = False


class TestAdditiveNormal(LayerContract):
    layer = AdditiveNormal
    proper_prior = True
    non_negative = False


class TestAdditiveNormalUnderAMixture(LayerContract):
    layer = AdditiveNormal
    options = {
        "prior": dist.MixtureSameFamily(
            dist.Categorical(torch.ones(2)), dist.Normal(torch.tensor([-1.0, 1.0]), torch.tensor([0.5, 1.0]))
        )
    }
    proper_prior = True
    non_negative = False


class TestGaussianDropoutUnderALaw(LayerContract):
    layer = GaussianDropout
    options = {"prior": dist.StudentT(3.0), "activation": "softplus"}
    proper_prior = True
    non_negative = False


class TestConstantDropoutUnderALaw(LayerContract):
    layer = ConstantDropout
    options = {"prior": dist.Gamma(2.0, 1.0), "activation": "softplus"}
    proper_prior = True


PARAMETER_FREE = {
    "information": lambda: InformationDropout(nn.Identity(), nn.Identity(), gate=0.3),
    "constant": lambda: ConstantDropout(nn.Identity(), 0.3),
    "gaussian": lambda: GaussianDropout(nn.Identity(), learn_alpha=False, gate=0.3),
    "binary": lambda: BinaryDropout(nn.Identity()),
    "additive": lambda: AdditiveNormal(nn.Identity(), nn.Identity()),
}


class TestWithoutParameters:
    """A layer of which nothing is learned goes where it is sent, and its prior with it."""

    @pytest.mark.parametrize("kind", PARAMETER_FREE)
    def test_float64(self, kind):
        layer = PARAMETER_FREE[kind]()
        assert not list(layer.parameters())
        program = Bottleneck(layer, nn.Linear(WIDTH, 2)).double()
        x = torch.randn(BATCH, WIDTH, dtype=torch.float64)
        terms = InformationBottleneckELBO().terms(program.model, program.guide, x, torch.zeros(BATCH).long())
        assert terms.rate["z1"].dtype == terms.loss.dtype == torch.float64
        if kind == "constant":
            # In single precision the constant of its prior would be off by some 1e-8.
            assert terms.rate["z1"].abs().max() < 1e-12

    @pytest.mark.parametrize("kind", sorted(PARAMETER_FREE.keys() - {"binary"}))
    def test_the_prior_is_on_the_layers_device(self, kind):
        layer = PARAMETER_FREE[kind]()
        with pyro.validation_enabled(False):  # on the device meta there are no values to look at
            layer.prior_distribution(torch.Size([WIDTH]))
            prior = layer.to("meta").prior_distribution(torch.Size([WIDTH])).base_dist
        assert getattr(prior, "loc" if kind == "additive" else "gate").device.type == "meta"

    def test_it_adds_nothing_to_what_is_saved(self):
        assert list(ConstantDropout(nn.Identity()).state_dict()) == []
