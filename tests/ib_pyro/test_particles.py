"""Vectorised particles: as good as single ones, or refused by the name of the part that they do not fit."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Predictive, Trace_ELBO
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO, noise_off
from ib_pyro.nn import AdditiveNormal, InformationDropout, StochasticLayer

BATCH, WIDTH = 6, 6  # as wide as the batch: a mix-up of dimensions meets no error of shape


class Mean(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, z):
        return z - z.mean(self.dim, keepdim=True)


class Own(StochasticLayer):
    """A noise that cannot be switched off."""

    def __init__(self):
        super().__init__(nn.Linear(4, WIDTH), activation="identity")

    def posterior(self, x):
        return dist.Normal(self.activation_of(x), 0.3)

    def prior_distribution(self, event_shape):
        return dist.Normal(torch.zeros(event_shape), 1.0).to_event(len(event_shape))


def linear(*between, first=None, second=None):
    encoder = nn.Sequential(
        first or InformationDropout.linear(4, WIDTH),
        *between,
        second or InformationDropout.linear(WIDTH, WIDTH),
    )
    return Bottleneck(encoder, nn.Linear(WIDTH, 3))


FITTING = {
    "linear": linear,
    "batch norm on x": lambda: linear(first=InformationDropout.linear(4, WIDTH, batch_norm=True)),
    "batch norm on x, before": lambda: Bottleneck(
        nn.Sequential(nn.BatchNorm1d(4), InformationDropout.linear(4, WIDTH)), nn.Linear(WIDTH, 3)
    ),
    "layer norm": lambda: linear(nn.LayerNorm(WIDTH)),
    "dropout": lambda: linear(nn.Dropout(0.5)),
    "mean over the last": lambda: linear(Mean(-1)),
    "noise of one's own": lambda: linear(first=Own()),
    "no noise": lambda: Bottleneck(
        nn.Sequential(nn.Linear(4, WIDTH), nn.BatchNorm1d(WIDTH)), nn.Linear(WIDTH, 3)
    ),
}
REFUSED = {
    "batch norm in a layer": (
        lambda: linear(second=InformationDropout.linear(WIDTH, WIDTH, batch_norm=True)),
        r"encoder\.1\.features\.1",
    ),
    "batch norm between": (lambda: linear(nn.BatchNorm1d(WIDTH)), r"encoder\.1"),
    "instance norm": (lambda: linear(nn.InstanceNorm1d(WIDTH)), r"encoder\.1"),
    "group norm": (lambda: linear(nn.GroupNorm(2, WIDTH)), r"encoder\.1"),
    "mean over the first": (lambda: linear(Mean(0)), "site 'z2'"),
    "mean over the second": (lambda: linear(Mean(1)), "site 'z2'"),
    "softmax over the second": (lambda: linear(nn.Softmax(1)), "site 'z2'"),
    "flatten": (lambda: linear(nn.Flatten()), r"encoder\.2"),
    "batch norm in the decoder": (
        lambda: Bottleneck(
            InformationDropout.linear(4, WIDTH), nn.Sequential(nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, 3))
        ),
        r"decoder\.0",
    ),
    "mean in the decoder": (
        lambda: Bottleneck(InformationDropout.linear(4, WIDTH), nn.Sequential(Mean(1), nn.Linear(WIDTH, 3))),
        "decoder",
    ),
    "attention": (
        lambda: linear(nn.TransformerEncoderLayer(WIDTH, 2, 8, dropout=0.0)),
        "encoder|site 'z2'",
    ),
}
IMAGES = {
    "convolution after convolution": lambda: nn.Sequential(
        InformationDropout.conv2d(1, 2, 3), InformationDropout.conv2d(2, 2, 3)
    ),
    "convolution": lambda: InformationDropout.conv2d(1, 2, 3),
}


@pytest.fixture
def batch():
    return torch.randn(BATCH, 4), torch.arange(BATCH) % 3


def used(program, batch):
    """A program whose statistics and parameters are not those that it starts with."""
    for _ in range(3):
        program(3 * batch[0] + 1)
    return program


def many(particles, elbo=InformationBottleneckELBO):
    return elbo(num_particles=particles, vectorize_particles=True, max_plate_nesting=1)


@pytest.mark.parametrize("make", FITTING.values(), ids=FITTING)
def test_what_fits_is_what_each_particle_is_alone(make, batch):
    program = used(make(), batch).eval()
    elbo = InformationBottleneckELBO()
    with noise_off():
        expected = (
            elbo.loss(program.model, program.guide, *batch)
            if make is not FITTING["noise of one's own"]
            else None
        )
        value = many(4).loss(program.model, program.guide, *batch)
    if expected is not None:
        assert value == pytest.approx(expected, rel=1e-5)
    losses = torch.tensor([elbo.loss(program.model, program.guide, *batch) for _ in range(200)])
    error = losses.std().item() / 200**0.5
    assert many(2000).loss(program.model, program.guide, *batch) == pytest.approx(
        losses.mean().item(), abs=5 * error
    )


@pytest.mark.parametrize("elbo", [InformationBottleneckELBO, Trace_ELBO])
@pytest.mark.parametrize(("make", "part"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_by_name(make, part, elbo, batch):
    for training in (True, False):
        program = make().train(training)
        state = {name: value.clone() for name, value in program.state_dict().items()}
        random = torch.get_rng_state()
        with pytest.raises(ValueError, match=rf"^({part}).*vectorised particles.*vectorize_particles=False"):
            many(3, elbo).differentiable_loss(program.model, program.guide, *batch)
        assert torch.equal(torch.get_rng_state(), random)
        assert all(torch.equal(value, state[name]) for name, value in program.state_dict().items())
        assert all(module.training is training for module in program.modules())
        assert InformationBottleneckELBO(num_particles=2).loss(program.model, program.guide, *batch) != 0


@pytest.mark.parametrize("encoder", IMAGES.values(), ids=IMAGES)
def test_images(encoder):
    program = Bottleneck(encoder(), nn.Sequential(nn.Flatten(), nn.LazyLinear(3)))
    batch = torch.rand(BATCH, 1, 8, 8), torch.arange(BATCH) % 3
    program(batch[0])
    with pytest.raises(ValueError, match=r"(encoder|decoder).*vectorize_particles=False"):
        many(3).loss(program.model, program.guide, *batch)


def test_features_that_do_not_say_their_dimensions_need_an_event_dim(batch):
    program = linear(second=AdditiveNormal(nn.Identity(), nn.Identity()))
    with pytest.raises(ValueError, match=r"site 'z2'.*event_dim=1"):
        many(3).loss(program.model, program.guide, *batch)
    program.encoder[1].event_dim = 1
    assert many(3).terms(program.model, program.guide, *batch).rate["z2"].shape == (BATCH,)


def test_it_is_looked_at_again_where_a_module_was_exchanged(batch):
    program = linear()
    many(3).loss(program.model, program.guide, *batch)
    program.decoder = nn.Sequential(nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, 3))
    with pytest.raises(ValueError, match=r"decoder\.0"):
        many(3).loss(program.model, program.guide, *batch)


def test_it_is_looked_at_once(batch):
    program, calls = linear(), []
    program.decoder.register_forward_hook(lambda *_: calls.append(1))
    counts = []
    for _ in range(3):
        many(3).loss(program.model, program.guide, *batch)
        counts.append(len(calls))
    assert counts == [3, 4, 5]


def test_pyros_predictive(batch):
    program = linear(nn.BatchNorm1d(WIDTH))
    with pytest.raises(ValueError, match=r"encoder\.1.*parallel=False"):
        Predictive(program.model, guide=program.guide, num_samples=5, parallel=True)(batch[0])
    draws = Predictive(program.model, guide=program.guide, num_samples=5)(batch[0])
    assert draws["y"].shape == (5, BATCH)


def test_a_plate_of_ones_own_is_like_particles(batch):
    program = linear(nn.BatchNorm1d(WIDTH))
    with pyro.plate("networks", 3, dim=-2), pytest.raises(ValueError, match=r"encoder\.1"):
        program.guide(*batch)
