"""Likelihoods by name, and what they say about targets that do not fit."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import nn
from torch.nn import functional as F

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.likelihoods import LIKELIHOODS, as_target, check_target, predictive_mean, resolve_likelihood
from ib_pyro.nn import AdditiveNormal


def test_categorical_is_cross_entropy():
    logits, y = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 3, 1, 1, 2])
    likelihood = resolve_likelihood("categorical")(logits)
    assert likelihood.batch_shape == (5,)
    torch.testing.assert_close(-likelihood.log_prob(y), F.cross_entropy(logits, y, reduction="none"))


def test_bernoulli_is_binary_cross_entropy():
    logits = torch.randn(5, 1, 3, 2, dtype=torch.float64)
    y = (torch.rand_like(logits) > 0.5).double()
    likelihood = resolve_likelihood("bernoulli")(logits)
    assert (likelihood.batch_shape, likelihood.event_shape) == ((5,), (1, 3, 2))
    expected = F.binary_cross_entropy_with_logits(logits, y, reduction="none").flatten(1).sum(1)
    torch.testing.assert_close(-likelihood.log_prob(y), expected)


def test_normal_is_half_the_squared_error():
    loc, y = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    difference = resolve_likelihood("normal")(loc).log_prob(y) - resolve_likelihood("normal")(loc).log_prob(
        loc
    )
    torch.testing.assert_close(-difference, 0.5 * (y - loc).square().sum(-1))
    scaled = resolve_likelihood("normal")((loc, torch.full_like(loc, 2.0)))
    torch.testing.assert_close(scaled.log_prob(y), dist.Normal(loc, 2.0).log_prob(y).sum(-1))


@pytest.mark.parametrize(
    ("last", "likelihood", "is_told"),
    [
        (nn.Softmax(-1), "categorical", True),
        (nn.Sequential(nn.ReLU(), nn.Sigmoid()), "bernoulli", True),
        (nn.Sigmoid(), "continuous-bernoulli", True),
        (nn.LogSoftmax(-1), "categorical", False),
        (nn.Sigmoid(), "normal", False),
        (nn.Sequential(), "categorical", False),
    ],
)
def test_probabilities_are_no_logits(last, likelihood, is_told):
    def build():
        decoder = nn.Sequential(nn.Linear(3, 2), last)
        return Bottleneck(AdditiveNormal.linear(4, 3), decoder, likelihood)

    if is_told:
        with pytest.warns(UserWarning, match=f"the output comes from a .*{likelihood}' takes logits") as told:
            build()
        assert told[0].filename == __file__
    else:
        build()


def test_a_function_is_a_likelihood():
    def poisson(rate):
        return dist.Poisson(rate).to_event(1)

    assert resolve_likelihood(poisson) is poisson


def test_an_unknown_name_says_the_nearest():
    with pytest.raises(ValueError, match=r"'categorial' is unknown; did you mean 'categorical'"):
        resolve_likelihood("categorial")
    with pytest.raises(ValueError, match="bernoulli.*categorical.*normal"):
        resolve_likelihood("zzz")
    assert {"bernoulli", "categorical", "normal"} < set(LIKELIHOODS)


CATEGORICAL = dist.Categorical(logits=torch.zeros(4, 3))
NORMAL = dist.Normal(torch.zeros(4, 1), 1.0).to_event(1)


@pytest.mark.parametrize(
    ("y", "likelihood", "message"),
    [
        (
            torch.tensor([0, 1, 2, 3]),
            CATEGORICAL,
            r"'y': labels reach from 0 to 3.*gives 3 classes \(0 to 2\)",
        ),
        (torch.tensor([0, -1, 2, 2]), CATEGORICAL, r"'y': labels reach from -1 to 2"),
        (
            torch.tensor([0.0, 1.0, 2.0, 2.0]),
            CATEGORICAL,
            r"'y': labels must be whole numbers.*torch.float32",
        ),
        (torch.tensor([0, 1, 2]), CATEGORICAL, r"'y': 3 targets for 4 inputs"),
        (torch.tensor(1), CATEGORICAL, r"'y': a single number"),
        (
            torch.eye(4)[:, :3],
            CATEGORICAL,
            r"'y': one target has shape \(3,\).*event shape \(\); .*y\.argmax",
        ),
        (torch.zeros(4, 2), CATEGORICAL, r"'y': one target has shape \(2,\).*reshape y"),
        (torch.zeros(4), NORMAL, r"'y': one target has shape \(\).*event shape \(1,\)"),
        (
            torch.zeros(4),
            dist.Normal(torch.zeros(4, 1), 1.0),
            r"batch shape \(4, 1\) for a batch of 4.*to_event",
        ),
        (torch.zeros(4), dist.Normal(0.0, 1.0), r"batch shape \(\)"),
    ],
)
def test_targets_that_do_not_fit(y, likelihood, message):
    with pytest.raises(ValueError, match=message):
        check_target(y, likelihood, 4)


def test_targets_that_fit():
    check_target(torch.tensor([0, 1, 2, 2]), CATEGORICAL, 4)
    check_target(torch.tensor([0, 1, 2, 2], dtype=torch.int32), CATEGORICAL.expand((7, 4)), 4)
    check_target(torch.zeros(4, 1), NORMAL, 4)


class Heads(nn.Module):
    """A decoder of one latent to ``[batch, 3]``, or to a pair whose second part is positive."""

    def __init__(self, is_pair):
        super().__init__()
        torch.manual_seed(2)
        self.first, self.second = nn.Linear(1, 3), nn.Linear(1, 3) if is_pair else None

    def forward(self, z):
        first = self.first(z)
        return first if self.second is None else (first, F.softplus(self.second(z)) + 0.05)


# For each name: whether the decoder gives a pair, targets of it, and the density by hand.
OBSERVED = {
    "bernoulli": (False, [[0, 1, 1], [1, 0, 0]], None),
    "normal": (True, [[0.3, -1.0, 2.0], [0.0, 0.5, 1.0]], None),
    "continuous-bernoulli": (
        False,
        [[0.0, 0.3, 1.0], [0.5, 0.9, 0.1]],
        lambda x, y: torch.distributions.ContinuousBernoulli(logits=x).log_prob(y),
    ),
    "discretized-logistic": (
        True,
        [[0.0, 51 / 255, 1.0], [1 / 255, 0.6, 254 / 255]],
        lambda m, s, y: (
            torch.where(y < 1, torch.sigmoid((y + 1 / 510 - m) / s), torch.ones_like(y))
            .sub(torch.where(y > 0, torch.sigmoid((y - 1 / 510 - m) / s), torch.zeros_like(y)))
            .log()
        ),
    ),
    "poisson": (False, [[0, 3, 1], [7, 0, 2]], lambda x, y: torch.distributions.Poisson(x.exp()).log_prob(y)),
    "negative-binomial": (
        True,
        [[0, 3, 1], [7, 0, 2]],
        lambda x, r, y: torch.distributions.NegativeBinomial(r, logits=x - r.log()).log_prob(y),
    ),
}


def observed(name):
    is_pair, y, by_hand = OBSERVED[name]
    torch.manual_seed(1)
    program = Bottleneck(AdditiveNormal.linear(2, 1), Heads(is_pair), name).double()
    return program, torch.tensor([[0.2, -0.4], [1.0, 0.7]], dtype=torch.float64), torch.tensor(y), by_hand


def test_every_name_but_the_one_of_classes_is_in_this_table():
    assert set(LIKELIHOODS) == {*OBSERVED, "categorical"}


@pytest.mark.parametrize("name", OBSERVED)
class TestEveryName:
    def test_its_density_is_that_by_hand(self, name):
        program, _, y, by_hand = observed(name)
        output = program.decoder(torch.randn(2, 1, dtype=torch.float64))
        law = resolve_likelihood(name)(output)
        assert (law.batch_shape, law.event_shape) == ((2,), (3,))
        if by_hand is not None:
            parts = output if isinstance(output, tuple) else (output,)
            expected = by_hand(*parts, y.double()).sum(1)
            torch.testing.assert_close(law.log_prob(as_target(y, law)), expected, rtol=1e-6, atol=1e-7)

    def test_the_distortion_is_the_integral(self, name):
        program, x, y, _ = observed(name)
        with torch.no_grad():
            q = program.posteriors(x)["z1"]
            nodes, weights = map(torch.from_numpy, np.polynomial.hermite_e.hermegauss(60))
            expected = []
            for mean, scale, target in zip(q.loc, q.scale, y, strict=True):
                law = resolve_likelihood(name)(program.decoder((mean + scale * nodes)[:, None]))
                density = law.log_prob(as_target(target.expand(60, 3), law))
                expected.append(-(weights * density).sum() / weights.sum())
            copies = 20000
            terms = InformationBottleneckELBO().terms(
                program.model, program.guide, x.repeat(copies, 1), y.repeat(copies, 1)
            )
        found = terms.distortion.unflatten(0, (copies, 2))
        error = found.std(0) / copies**0.5
        assert ((found.mean(0) - torch.stack(expected)).abs() < 4.5 * error).all()
        assert (error < 0.1).all()

    def test_the_loss_is_that_of_pyro(self, name):
        program, x, y, _ = observed(name)
        losses = []
        for elbo in (InformationBottleneckELBO(sampled_rates=["z1"]), Trace_ELBO()):
            torch.manual_seed(3)
            losses.append(elbo.differentiable_loss(program.model, program.guide, x, y))
        torch.testing.assert_close(*losses)

    def test_particles_at_once_are_particles_in_turn(self, name):
        program, x, y, _ = observed(name)
        options = {"num_particles": 4000, "vectorize_particles": True, "max_plate_nesting": 1}
        elbo = InformationBottleneckELBO(**options)
        with torch.no_grad():
            found = elbo.terms(program.model, program.guide, x, y)
            one = InformationBottleneckELBO().terms(
                program.model, program.guide, x.repeat(4000, 1), y.repeat(4000, 1)
            )
        each = one.distortion.unflatten(0, (4000, 2))
        assert ((found.distortion - each.mean(0)).abs() < 6 * each.std(0) / 4000**0.5).all()
        assert found.loss.item() == pytest.approx((found.distortion + found.rate["z1"]).sum().item())

    def test_y_can_be_drawn_and_predicted(self, name):
        program, x, _, _ = observed(name)
        drawn = program.model(x)
        law = program.predictive(x, 1)[0]
        check_target(drawn, law, 2)
        assert law.log_prob(drawn).isfinite().all()
        assert program.predict(x, 3).shape == (2, 3)
        draws = law.sample((20000,))
        error = draws.std(0) / 20000**0.5
        assert ((draws.mean(0) - predictive_mean(law)).abs() < 5 * error + 1e-9).all()

    def test_captured(self, name):
        program, x, y, _ = observed(name)
        elbo = InformationBottleneckELBO(0.5)
        captured = elbo.capture(program.model, program.guide)
        for seed in (3, 4):
            torch.manual_seed(seed)
            expected = elbo.loss(program.model, program.guide, x, y)
            torch.manual_seed(seed)
            assert captured.loss_and_grads(x, y) == pytest.approx(expected, rel=1e-10)

    def test_nan_of_the_decoder_is_named(self, name):
        program, x, y, _ = observed(name)
        nn.init.constant_(program.decoder.first.bias, float("nan"))
        with pytest.raises(ValueError, match=r"site 'y': the decoder's output, the .* of y, has NaN"):
            program.model(x, y)

    def test_single_precision_is_kept(self, name):
        program, x, y, _ = observed(name)
        program.float()
        y = y if not y.is_floating_point() else y.float()
        terms = InformationBottleneckELBO().terms(program.model, program.guide, x.float(), y)
        assert terms.distortion.dtype == terms.loss.dtype == torch.float32


@pytest.mark.parametrize("name", [name for name, (is_pair, *_) in OBSERVED.items() if is_pair])
def test_a_pair_is_asked_for(name):
    likelihood = resolve_likelihood(name)
    if name != "normal":
        with pytest.raises(
            ValueError, match=rf"site 'y': the decoder returns one Tensor, but '{name}' takes a pair"
        ):
            likelihood(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="the decoder returns 3 values"):
        likelihood((torch.zeros(2), torch.ones(2), torch.ones(2)))
    with pytest.raises(ValueError, match=r"the decoder's second output, .* not positive.*softplus or exp"):
        likelihood((torch.zeros(2, 3), torch.zeros(2, 3)))


@pytest.mark.parametrize(
    ("name", "y", "message"),
    [
        (
            "continuous-bernoulli",
            [[0.0, 0.3, 1.2]],
            r"grey y is within \[0, 1\], but y has values from 0 to 1.2",
        ),
        ("continuous-bernoulli", [[0, 3, 255]], r"y has values from 0 to 255; rescale .*y / 255"),
        ("discretized-logistic", [[0, 3, 255]], r"one of the 256 levels .* y has values from 0 to 255"),
        ("discretized-logistic", [[0.0, 0.2, 0.5]], r"one of the 256 levels .*, such as 0\.5"),
        ("poisson", [[0.0, 1.5, 2.0]], r"counts are whole numbers from 0, but .*, such as 1\.5"),
        (
            "negative-binomial",
            [[0, -1, 2]],
            r"counts are whole numbers from 0, but y has values from -1 to 2",
        ),
        ("poisson", [[0.0, float("nan"), 2.0]], "y has 1 NaN of 3 values"),
        (
            "bernoulli",
            [[0.0, 0.5, 1.0]],
            r"binary y is 0 or 1, but .* from 0 to 1, such as 0\.5; .*'continuous-bernoulli'",
        ),
    ],
)
def test_targets_that_a_law_does_not_take(name, y, message):
    program, x, _, _ = observed(name)
    with pytest.raises(ValueError, match=rf"site 'y': .*{message}"):
        program.model(x[:1], torch.tensor(y))


def test_levels_of_bytes_are_taken():
    program, x, _, _ = observed("discretized-logistic")
    y = torch.tensor([[0, 128, 255], [3, 7, 254]]).float() / 255
    program.float()
    assert InformationBottleneckELBO().loss(program.model, program.guide, x.float(), y) > 0
