"""The bottleneck program: its sites, its shapes, its predictions and what it refuses."""

import math
from collections import OrderedDict
from contextlib import nullcontext

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive, Trace_ELBO, TraceMeanField_ELBO
from torch import nn
from torch.nn import functional as F

from ib_pyro import Bottleneck, InformationBottleneckELBO, noise_off
from ib_pyro.nn import AdditiveNormal, BinaryDropout, InformationDropout

BATCH, WIDTH_IN, CLASSES = 6, 4, 3


PROPER = {"activation": "softplus", "prior": "log-normal"}
ELBOS = [InformationBottleneckELBO(), TraceMeanField_ELBO(), Trace_ELBO()]


def count_calls(module):
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


class TestSites:
    def test_guide_and_model_have_the_layers_sites(self, x, y, make):
        program = make()
        guide = poutine.trace(program.guide).get_trace(x, y)
        model = poutine.trace(poutine.replay(program.model, trace=guide)).get_trace(x, y)
        assert guide.stochastic_nodes == ["z1", "z2"] == model.stochastic_nodes
        assert model.observation_nodes == ["y"]
        for name, width in (("z1", 5), ("z2", 2)):
            for trace in (guide, model):
                fn = trace.nodes[name]["fn"]
                assert (fn.batch_shape, fn.event_shape) == ((BATCH,), (width,))
                assert [f.name for f in trace.nodes[name]["cond_indep_stack"]] == ["data"]

    @pytest.mark.parametrize(
        ("encoder", "names"),
        [
            (nn.Sequential(InformationDropout.linear(4, 5), InformationDropout.linear(5, 2)), ["z1", "z2"]),
            (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), InformationDropout.linear(4, 2)), ["z1"]),
            (InformationDropout.linear(4, 2), ["z1"]),
            (InformationDropout.linear(4, 2, name="code"), ["code"]),
            (
                nn.Sequential(
                    OrderedDict(top=nn.Sequential(OrderedDict(low=InformationDropout.linear(4, 2))))
                ),
                ["top.low"],
            ),
        ],
    )
    def test_names(self, x, encoder, names, make):
        program = make(encoder)
        assert list(program.stochastic_layers) == names
        assert poutine.trace(program.guide).get_trace(x).stochastic_nodes == names
        assert f"sites={names}" in repr(program)

    def test_two_layers_of_one_name_are_refused(self, make):
        layers = [InformationDropout.linear(4, 4, name="z") for _ in range(2)]
        with pytest.raises(ValueError, match="two layers of the encoder emit the site 'z'.*name="):
            make(nn.Sequential(*layers))

    def test_a_deterministic_encoder_has_an_empty_guide(self, x, y, make):
        program = make(nn.Linear(WIDTH_IN, 2))
        assert poutine.trace(program.guide).get_trace(x, y).stochastic_nodes == []
        loss = InformationBottleneckELBO()(program.model, program.guide)(x, y)
        logits = program.decoder(program.encoder(x))
        torch.testing.assert_close(loss, F.cross_entropy(logits, y, reduction="sum"))

    @pytest.mark.parametrize("noisy", [True, False])
    @pytest.mark.parametrize("elbo", ELBOS, ids=lambda e: type(e).__name__)
    def test_the_encoder_runs_once_an_evaluation(self, x, y, elbo, noisy, make):
        program = make(None if noisy else nn.Linear(WIDTH_IN, 2))
        encoder, decoder = count_calls(program.encoder), count_calls(program.decoder)
        for evaluations in (1, 2, 3):
            elbo.differentiable_loss(program.model, program.guide, x, y)
            assert len(encoder) == len(decoder) == evaluations
        if isinstance(elbo, InformationBottleneckELBO):
            elbo.terms(program.model, program.guide, x, y)
            assert len(encoder) == 4

    def test_several_values_reach_the_decoder(self, x, y):
        class Two(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b = InformationDropout.linear(4, 2), AdditiveNormal.linear(2, 3)

            def forward(self, x):
                a = self.a(x)
                return self.b(a), a

        class Decoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.of_b, self.of_a = nn.Linear(3, CLASSES), nn.Linear(2, CLASSES)

            def forward(self, b, a):
                return self.of_b(b) + self.of_a(a)

        program = Bottleneck(Two(), Decoder())
        terms = InformationBottleneckELBO().terms(program.model, program.guide, x, y)
        assert set(terms.rate) == {"a", "b"}
        assert program.predict(x).shape == (BATCH, CLASSES)

    def test_num_data_scales_like_a_subsample(self, x, y, make):
        plain = make()
        scaled = Bottleneck(plain.encoder, plain.decoder, num_data=60)
        elbo = InformationBottleneckELBO(beta=0.3)
        with torch.random.fork_rng():
            expected = elbo(plain.model, plain.guide)(x, y)
        terms = elbo.terms(scaled.model, scaled.guide, x, y)
        torch.testing.assert_close(terms.loss, expected * 60 / BATCH)
        torch.testing.assert_close(terms.loss, 10 * (terms.distortion + 0.3 * sum(terms.rate.values())).sum())


class TestPriorPredictive:
    def test_a_proper_program_can_be_sampled(self, x, make, two_layers):
        program = make(two_layers(**PROPER))
        trace = poutine.trace(program.model).get_trace(x)
        assert trace.stochastic_nodes == ["z1", "z2", "y"]
        assert trace.nodes["z1"]["value"].shape == (BATCH, 5)
        assert trace.nodes["y"]["value"].shape == (BATCH,)

    def test_it_does_not_look_at_the_values_of_x(self, x, make, two_layers):
        program = make(two_layers(**PROPER))
        with torch.random.fork_rng():
            expected = program.model(x)
        assert torch.equal(program.model(x * math.nan), expected)

    @pytest.mark.parametrize("warm", [False, True])
    def test_an_improper_program_says_what_to_pass(self, x, y, warm, make):
        program = make()
        if warm:
            program.guide(x, y)
        with pytest.raises(NotImplementedError, match=r"site 'z1'.*LogNormal.*layer.prior.*predict\(x\)"):
            program.model(x)

    def test_a_fixed_prior_says_which_layer_has_another(self, x, make):
        with pytest.raises(
            NotImplementedError, match="site 'z1'.*InformationDropout.*BinaryDropout is fixed"
        ):
            make(BinaryDropout.linear(4, 2)).model(x)

    @pytest.mark.parametrize("training", [True, False])
    def test_finding_the_structure_has_no_side_effects(self, x, training, make, two_layers):
        """It runs the encoder once: batch norm's statistics and the random state stay."""
        program = make(two_layers(batch_norm=True, **PROPER)).train(training)
        buffers = {name: value.clone() for name, value in program.named_buffers()}
        state = torch.get_rng_state()
        program._structure(x)
        assert torch.equal(torch.get_rng_state(), state)
        assert len(buffers) == 6
        assert all(torch.equal(value, buffers[name]) for name, value in program.named_buffers())
        assert all(p.grad is None for p in program.parameters())


class TestPrediction:
    def test_mean_of_the_posterior_predictive(self, x, make):
        program = make()
        probabilities = program.predict(x, num_samples=7)
        assert probabilities.shape == (BATCH, CLASSES)
        assert not probabilities.requires_grad
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(BATCH))
        draws = torch.stack([program.predict(x, num_samples=1) for _ in range(600)])
        error = 5 * draws.std(0) / math.sqrt(600)
        assert ((program.predict(x, num_samples=600) - draws.mean(0)).abs() < 2 * error).all()

    def test_without_noise(self, x, make):
        program = make()
        with noise_off():
            expected = program.decoder(program.encoder(x)).softmax(-1)
        torch.testing.assert_close(program.predict(x, num_samples=0), expected)
        assert torch.equal(program.predict(x, num_samples=0), program.predict(x, num_samples=0))

    def test_a_negative_number_of_samples(self, x, make):
        with pytest.raises(ValueError, match="num_samples must not be negative; got -1"):
            make().predict(x, num_samples=-1)

    @pytest.mark.parametrize(
        ("likelihood", "decoder", "shape"),
        [
            ("bernoulli", nn.Linear(2, 4), (BATCH, 4)),
            ("normal", nn.Linear(2, 4), (BATCH, 4)),
            (lambda out: dist.Poisson(out.exp()).to_event(1), nn.Linear(2, 4), (BATCH, 4)),
            (lambda out: dist.Poisson(out[:, 0].exp()), nn.Linear(2, 1), (BATCH,)),
        ],
    )
    def test_other_likelihoods_predict_their_mean(self, x, likelihood, decoder, shape, two_layers):
        program = Bottleneck(two_layers(), decoder, likelihood)
        mean = program.predict(x, num_samples=0)
        with noise_off():
            expected = program._likelihoods["y"](decoder(program.encoder(x))).mean
        assert mean.shape == shape
        torch.testing.assert_close(mean, expected)
        loss = InformationBottleneckELBO()(program.model, program.guide)(x, (mean > 0.5).float())
        assert loss.isfinite()

    @pytest.mark.parametrize("parallel", [False, True])
    @pytest.mark.parametrize("options", [{}, PROPER])
    def test_pyros_predictive(self, x, options, parallel, make, two_layers):
        program = make(two_layers(**options))
        draws = Predictive(program.model, guide=program.guide, num_samples=5, parallel=parallel)(x)
        assert {name: value.shape for name, value in draws.items()} == {
            "z1": (5, BATCH, 5),
            "z2": (5, BATCH, 2),
            "y": (5, BATCH),
        }

        with pytest.raises(NotImplementedError, match="proper prior") if not options else nullcontext():
            assert Predictive(program.model, num_samples=5)(x)["y"].shape == (5, BATCH)

    def test_predictive_is_differentiable_in_the_input(self, x, make):
        x.requires_grad_()
        loss = -torch.stack([d.log_prob(torch.zeros(BATCH)) for d in make().predictive(x, 3)]).mean()
        loss.backward()
        assert x.grad.abs().sum() > 0


class TestParticles:
    def test_vectorised_particles_have_the_same_expectation(self, x, y, make):
        program = make()
        many = InformationBottleneckELBO(num_particles=3000, vectorize_particles=True, max_plate_nesting=1)
        one = InformationBottleneckELBO(num_particles=300)
        sides = program.model, program.guide, x, y
        losses = torch.tensor([InformationBottleneckELBO().loss(*sides) for _ in range(200)])
        spread = losses.std().item()
        assert many.loss(*sides) == pytest.approx(losses.mean().item(), abs=5 * spread / math.sqrt(200))
        assert one.loss(*sides) == pytest.approx(losses.mean().item(), abs=8 * spread / math.sqrt(200))
        terms = many.terms(*sides)
        assert terms.distortion.shape == (BATCH,)
        assert terms.rate["z2"].shape == (BATCH,)


class TestBadInput:
    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (lambda x, y: (x, y + 1), r"site 'y': labels reach from 1 to 3.*3 classes"),
            (lambda x, y: (x, y - 1), r"site 'y': labels reach from -1"),
            (lambda x, y: (x, y.float()), r"site 'y': labels must be whole numbers"),
            (lambda x, y: (x, y[:-1]), r"site 'y': 5 targets for 6 inputs"),
            (lambda x, y: (x, y[:, None]), r"site 'y': one target has shape \(1,\)"),
            (lambda x, y: (x[:0], y[:0]), r"the batch is empty"),
            (lambda x, y: (x * math.nan, y), r"site 'z1': activation has 30 NaN"),
        ],
    )
    @pytest.mark.parametrize("elbo", ELBOS, ids=lambda e: type(e).__name__)
    def test_batches(self, x, y, wrong, message, elbo, make):
        program = make()
        with pytest.raises(ValueError, match=message):
            elbo.differentiable_loss(program.model, program.guide, *wrong(x, y))

    @pytest.mark.parametrize("num_data", [5, 0])
    def test_a_data_set_smaller_than_the_batch(self, x, y, num_data, make):
        program = make(num_data=num_data)
        with pytest.raises(
            ValueError, match=f"num_data={num_data} is the size of the data set.*batch alone has 6"
        ):
            program.guide(x, y)

    @pytest.mark.parametrize("through", ["guide", "model"])
    def test_a_layer_that_is_not_called(self, x, through, make):
        class Forgetful(nn.Module):
            def __init__(self):
                super().__init__()
                self.z1, self.z2 = InformationDropout.linear(4, 2, **PROPER), InformationDropout.linear(4, 2)

            def forward(self, x):
                return self.z1(x)

        with pytest.raises(
            ValueError, match="site 'z2': its layer is in the encoder, but the encoder does not call"
        ):
            getattr(make(Forgetful()), through)(x)

    def test_an_unknown_likelihood(self, make):
        with pytest.raises(ValueError, match="likelihood='softmax' is unknown"):
            make(likelihood="softmax")
