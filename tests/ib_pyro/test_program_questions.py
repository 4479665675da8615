"""What a program can be asked: its output, its latents, its posteriors, and the mean of its predictive."""

import copy
import pickle

import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.torch_distribution import ExpandedDistribution
from pyro.infer import Trace_ELBO
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO, noise_off
from ib_pyro.distributions import MultiplicativeBernoulli, MultiplicativeLogNormal
from ib_pyro.likelihoods import predictive_mean
from ib_pyro.nn import AdditiveNormal, BinaryDropout, InformationDropout


def seeded(function, *args):
    torch.manual_seed(5)
    return function(*args)


class TestOutput:
    def test_it_is_the_decoders_under_one_draw(self, x, make):
        program = make()
        expected = seeded(lambda: program.decoder(program.encoder(x)))
        assert torch.equal(seeded(program, x), expected)
        assert not torch.equal(program(x), program(x))
        with noise_off():
            assert torch.equal(program(x), program(x))

    def test_it_is_an_ordinary_module(self, x, y, make, two_layers):
        program = make(two_layers(batch_norm=True))
        nn.functional.cross_entropy(nn.Sequential(program, nn.Identity())(x), y).backward()
        assert all(p.grad is not None for p in program.parameters())
        assert program.encoder.z1.features[1].num_batches_tracked == 1
        with torch.no_grad():
            assert not program(x).requires_grad

    def test_it_goes_through_hooks(self, x, make):
        program, seen = make(), []
        program.register_forward_hook(lambda *_: seen.append(1))
        program(x)
        assert seen == [1]


class TestLatentsAndPosteriors:
    def test_latents_are_a_draw(self, x, make):
        program = make()
        z = seeded(program.latents, x)
        assert list(z) == ["z1", "z2"]
        assert torch.equal(z["z2"], seeded(program.encoder, x))
        z["z2"].sum().backward()
        assert program.encoder.z1.features.weight.grad is not None

    def test_posteriors_are_the_layers_own_laws(self, x, make):
        program = make()
        laws = program.posteriors(x)
        assert all(type(law) is MultiplicativeLogNormal for law in laws.values())
        assert (laws["z1"].batch_shape, laws["z2"].batch_shape) == ((6, 5), (6, 2))
        torch.testing.assert_close(laws["z1"].alpha, program.encoder.z1.alpha(x))
        with noise_off():
            low = program.latents(x)["z1"]
            torch.testing.assert_close(program.posteriors(x)["z2"].alpha, program.encoder.z2.alpha(low))

    def test_a_masked_site_has_its_law(self, x, make):
        laws = make(BinaryDropout.linear(4, 2)).posteriors(x)
        assert type(laws["z1"]) is MultiplicativeBernoulli

    def test_a_deterministic_program_has_none(self, x, make):
        program = make(nn.Linear(4, 2))
        assert program.latents(x) == program.posteriors(x) == {}


LAWS = {
    "negative binomial": lambda o: dist.NegativeBinomial(10.0, logits=o).to_event(1),
    "binomial": lambda o: dist.Binomial(5, logits=o).to_event(1),
    "geometric": lambda o: dist.Geometric(logits=o).to_event(1),
    "Poisson": lambda o: dist.Poisson(o.exp()).to_event(1),
    "zero-inflated": lambda o: dist.ZeroInflatedPoisson(o.exp(), gate_logits=o).to_event(1),
    "zero-inflated negative binomial": lambda o: dist.ZeroInflatedNegativeBinomial(
        3.0, logits=o, gate_logits=o
    ).to_event(1),
    "continuous Bernoulli": lambda o: dist.ContinuousBernoulli(logits=o).to_event(1),
    "beta": lambda o: dist.Beta(o.exp(), 2.0).to_event(1),
    "gamma": lambda o: dist.Gamma(o.exp(), 2.0).to_event(1),
    "Student's t": lambda o: dist.StudentT(5.0, o).to_event(1),
    "Bernoulli": lambda o: dist.Bernoulli(logits=o).to_event(1),
    "multinomial": lambda o: dist.Multinomial(4, logits=o),
    "one-hot": lambda o: dist.OneHotCategorical(logits=o),
    "straight-through": lambda o: dist.OneHotCategoricalStraightThrough(logits=o),
    "Dirichlet": lambda o: dist.Dirichlet(o.exp()),
    "mixture": lambda o: dist.MixtureSameFamily(dist.Categorical(logits=o), dist.Normal(o, 1.0)),
    "log-normal": lambda o: dist.LogNormal(o, 0.5).to_event(1),
    "masked": lambda o: dist.Geometric(logits=o).to_event(1).mask(torch.tensor(False)),
}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_the_mean_is_that_of_samples(law):
    likelihood = law(torch.tensor([[-0.5, 0.3, 0.8], [0.4, 0.1, -1.0]], dtype=torch.float64))
    draws = likelihood.sample((100_000,)).double()
    mean = predictive_mean(likelihood)
    assert mean.shape == draws.shape[1:]
    assert ((draws.mean(0) - mean).abs() < 5.5 * draws.std(0) / len(draws) ** 0.5 + 1e-12).all()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda o: dist.Categorical(logits=o).to_event(1),
        lambda o: dist.Categorical(logits=o).mask(False).to_event(1),
        lambda o: dist.Categorical(logits=o[0]).expand(o.shape[:-1]).to_event(1),
        lambda o: ExpandedDistribution(dist.Categorical(logits=o[0]), o.shape[:-1]).to_event(1),
        lambda o: dist.Categorical(logits=o).to_event(1).mask(True),
    ],
)
def test_probabilities_of_many_labels_at_once(wrap):
    """As for the pixels of a segmentation."""
    logits = torch.randn(3, 4, dtype=torch.float64).expand(2, 3, 4)
    torch.testing.assert_close(predictive_mean(wrap(logits)), logits.softmax(-1))


@pytest.mark.parametrize(
    ("law", "error"),
    [
        (lambda o: dist.Cauchy(o, 1.0), "mean of Cauchy is NaN"),
        (lambda o: dist.StudentT(torch.tensor([3.0, 1.0]), o), "mean of StudentT is NaN for 3 of 6"),
        (
            lambda o: dist.TransformedDistribution(dist.Normal(o, 1.0), [dist.transforms.TanhTransform()]),
            "no mean of TransformedDistribution is known",
        ),
        (lambda o: dist.RelaxedBernoulli(torch.tensor(0.5), logits=o), "no mean of RelaxedBernoulli"),
        (lambda o: dist.ProjectedNormal(o.unsqueeze(-1).expand(3, 2, 2)), "no mean of ProjectedNormal"),
    ],
)
def test_a_law_without_a_mean_is_refused_by_name(law, error):
    program = Bottleneck(AdditiveNormal.linear(4, 2), nn.Identity(), lambda o: law(o).to_event(1))
    with pytest.raises((NotImplementedError, ValueError), match=f"site 'y'.*{error}.*program.predictive"):
        program.predict(torch.rand(3, 4), 2)


class TestMessages:
    @pytest.mark.parametrize(
        ("decoder", "path"),
        [
            (lambda: nn.Sequential(nn.Linear(2, 2), InformationDropout.linear(2, 3)), "decoder.1"),
            (lambda: InformationDropout.linear(2, 3), "decoder"),
        ],
    )
    def test_a_noisy_layer_in_the_decoder(self, x, decoder, path, make):
        program = make()
        with pytest.raises(ValueError, match=f"^{path}: a noisy layer is in the decoder"):
            Bottleneck(program.encoder, decoder())
        before = program.decoder
        with pytest.raises(ValueError, match=f"^{path}: a noisy layer is in the decoder"):
            program.decoder = decoder()
        assert program.decoder is before
        program.decoder = nn.Sequential(nn.Linear(2, 3), nn.Identity())
        program.decoder[1] = InformationDropout.linear(3, 3)
        with pytest.raises(ValueError, match=r"decoder.1: a noisy layer"):
            program.model(x)

    @pytest.mark.parametrize("wrap", [tuple, list])
    @pytest.mark.parametrize(
        ("scale", "message"),
        [
            (-0.3, r"second output, the standard deviation of y.*6 of 6 \(min -0.3.*softplus or exp"),
            (float("nan"), "second output, the standard deviation of y.*6 NaN"),
        ],
    )
    def test_a_scale_that_is_none(self, x, scale, message, wrap, two_layers):
        class Pair(nn.Module):
            def forward(self, z):
                return wrap((z[:, :1], torch.full_like(z[:, :1], scale)))

        program = Bottleneck(two_layers(), Pair(), "normal")
        with pytest.raises(ValueError, match=f"site 'y': the decoder's {message}"):
            program.predict(x)
        with pytest.raises(ValueError, match=f"site 'y': the decoder's {message}"):
            InformationBottleneckELBO().loss(program.model, program.guide, x, torch.zeros(6, 1))

    def test_a_function_that_refuses_the_output(self, x, two_layers):
        program = Bottleneck(two_layers(), nn.Identity(), lambda o: dist.Normal(o, -1.0).to_event(1))
        with pytest.raises(
            ValueError, match="site 'y': the likelihood does not take the decoder's output: .*scale"
        ):
            program.predict(x)

    @pytest.mark.parametrize("noisy", [True, False])
    @pytest.mark.parametrize("likelihood", ["categorical", "bernoulli", "normal"])
    def test_nan_in_x_is_named(self, x, noisy, likelihood, make):
        program = make(None if noisy else nn.Linear(4, 2), likelihood=likelihood)
        with pytest.raises(ValueError, match="x itself has 24 NaN of 24 values"):
            program.predict(x * float("nan"))

    def test_nan_in_the_parameters_is_not_blamed_on_x(self, x, make):
        program = make()
        nn.init.constant_(program.encoder.z1.features.weight, float("nan"))
        with pytest.raises(
            ValueError, match="site 'z1'.*input has none, so look for NaN in its parameters"
        ) as error:
            program(x)
        assert "x itself" not in str(error.value)

    @pytest.mark.parametrize(
        "x",
        [[torch.rand(6, 4)], torch.tensor(1.0)],
        ids=["a list", "a scalar"],
    )
    def test_an_input_that_is_not_a_batch(self, x, make):
        with pytest.raises(TypeError, match=r"a program takes one tensor \[batch, ...\], a packed sequence"):
            make().guide(x)

    def test_a_model_without_y_says_why_it_samples(self, x, make):
        with pytest.raises(NotImplementedError):
            make().model(x)
        program = make(nn.Linear(4, 2))
        with torch.no_grad():
            from pyro import poutine

            trace = poutine.trace(program.model).get_trace(x)
        assert trace.nodes["y"]["infer"]["hint"].endswith("pass y")


class TestTokens:
    @pytest.mark.parametrize("sequence", [7, 6, 1])
    def test_they_are_one_samples(self, sequence):
        """Also where the sequence is as long as the batch."""
        program = Bottleneck(InformationDropout.linear(4, 5), nn.Sequential(nn.Flatten(), nn.LazyLinear(3)))
        batch = torch.rand(6, sequence, 4), torch.arange(6) % 3
        with pytest.raises(ValueError, match=r"site 'z1'.*event_dim=2, as in tokens"):
            InformationBottleneckELBO().loss(program.model, program.guide, *batch)
        program.encoder.event_dim = 2
        terms = InformationBottleneckELBO().terms(program.model, program.guide, *batch)
        assert terms.rate["z1"].shape == (6,)

    def test_in_a_guide_of_ones_own(self):
        import pyro

        layer = InformationDropout.linear(4, 5, name="code")
        with pyro.plate("tokens", 6, dim=-1), pytest.raises(ValueError, match="site 'code'.*event_dim=2"):
            layer(torch.rand(6, 7, 4))
        with pyro.plate("batch", 6, dim=-2), pyro.plate("tokens", 7, dim=-1):
            assert layer(torch.rand(6, 7, 4)).shape == (6, 7, 5)


class TestBinaryTargets:
    @pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8, torch.float64, torch.float32])
    @pytest.mark.parametrize(
        "likelihood", ["bernoulli", lambda o: dist.Bernoulli(logits=o).to_event(1)], ids=["named", "function"]
    )
    @pytest.mark.parametrize(
        "elbo", [InformationBottleneckELBO(), Trace_ELBO()], ids=lambda e: type(e).__name__
    )
    def test_any_type_will_do(self, x, dtype, likelihood, elbo, two_layers):
        program = Bottleneck(two_layers(), nn.Linear(2, 3), likelihood)
        y = torch.tensor([[0, 1, 1]] * 6)
        expected = seeded(elbo.loss, program.model, program.guide, x, y.float())
        assert seeded(elbo.loss, program.model, program.guide, x, y.to(dtype)) == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("value", "message"), [(7.0, "0 to 7"), (0.5, "0 to 0.5"), (float("nan"), "1 NaN of 18")]
    )
    def test_other_values_are_refused(self, x, value, message, two_layers):
        program = Bottleneck(two_layers(), nn.Linear(2, 3), "bernoulli")
        y = torch.zeros(6, 3)
        y[5, 1] = value
        with pytest.raises(ValueError, match=f"site 'y': binary y is 0 or 1.*{message}"):
            InformationBottleneckELBO().loss(program.model, program.guide, x, y)

    @pytest.mark.parametrize(
        ("likelihood", "y"), [("bernoulli", torch.full((6, 3), 7.0)), ("categorical", torch.full((6,), 7))]
    )
    def test_a_conditioned_model_is_checked_too(self, x, likelihood, y):
        from pyro import poutine

        program = Bottleneck(nn.Linear(4, 2), nn.Linear(2, 3), likelihood)
        with pytest.raises(ValueError, match="site 'y'.*7"):
            poutine.condition(program.model, data={"y": y})(x)

    def test_truth_values_under_a_real_law(self, x, two_layers):
        program = Bottleneck(two_layers(), nn.Linear(2, 3), "normal")
        y = torch.tensor([[False, True, True]] * 6)
        assert InformationBottleneckELBO().loss(program.model, program.guide, x, y) > 0


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copys_views_are_its_own(x, y, duplicate, make):
    program = make()
    InformationBottleneckELBO().loss(program.model, program.guide, x, y)
    twin = duplicate(program)
    assert twin.model.program is twin
    assert twin.guide.program is twin
    assert twin.model is twin.model
    assert list(twin.latents(x)) == ["z1", "z2"]


def test_a_replica_for_data_parallel(x, make):
    program = make()
    assert program.model.program is program
    replica = program._replicate_for_data_parallel()
    assert replica.model.program is replica
