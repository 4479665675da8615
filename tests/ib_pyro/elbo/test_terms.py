"""Distortion and rates one by one: their shapes, their scale, their sum, their gradients."""

from collections import OrderedDict

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.nn import BinaryDropout, InformationDropout


def seeded(function, *args, seed=0):
    torch.manual_seed(seed)
    return function(*args)


SHAPES = {
    "information dropout": ((6,), {"z1": (6,), "z2": (6,)}),
    "information dropout, softplus": ((6,), {"z1": (6,), "z2": (6,)}),
    "binary dropout": ((6,), {"z1": (6,), "z2": (6,)}),
    "no dropout": ((6,), {}),
    "VAE": ((6,), {"z": (6,)}),
    "nested plates, subsampled": ((3, 4), {"mean": (), "group": (3,), "z": (3, 4)}),
    "scale and mask": ((6,), {"z": (6,)}),
    "steps and factors": ((), {"z0": (), "z1": (), "z2": ()}),
    "AutoNormal": ((6,), {"slope": (), "offset": (), "z": (6,)}),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("options", [{}, {"num_particles": 3}])
def test_shapes(build, name, options):
    terms = InformationBottleneckELBO(**options).terms(*build(name).call)
    distortion, rates = SHAPES[name]
    assert terms.distortion.shape == distortion
    assert {site: rate.shape for site, rate in terms.rate.items()} == rates
    assert terms.loss.shape == ()
    assert terms.total_correlation == {}


def test_they_are_not_scaled(build):
    """The plates' scale is in the loss alone."""
    for name, factors in {
        "nested plates, subsampled": {"mean": 1.0, "group": 7 / 3, "z": 7 / 3 * 10 / 4},
        "scale and mask": {"z": 0.3},
        "information dropout, softplus": {"z1": 10.0, "z2": 10.0},
    }.items():
        program = build(name)
        at = {beta: seeded(InformationBottleneckELBO(beta).terms, *program.call) for beta in (0.0, 1.0)}
        rate = sum(factors[site] * value.sum() for site, value in at[1.0].rate.items())
        torch.testing.assert_close(at[1.0].loss - at[0.0].loss, rate)


def test_distortion_is_minus_the_log_likelihood(build):
    program = build("VAE")
    guide = seeded(poutine.trace(program.guide).get_trace, *program.args)
    model = poutine.trace(poutine.replay(program.model, trace=guide)).get_trace(*program.args)
    model.compute_log_prob()
    terms = seeded(InformationBottleneckELBO().terms, *program.call)
    torch.testing.assert_close(terms.distortion, -model.nodes["x"]["log_prob"])


def test_masked_values_are_zero(build):
    rate = InformationBottleneckELBO().terms(*build("scale and mask").call).rate["z"]
    assert (rate == 0).tolist() == [False, True, False, False, True, False]


def test_several_observations_share_their_plates():
    """One value for each index of the plates that all observed sites share, summed over the others."""
    first, second = torch.randn(4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)

    def model():
        with pyro.plate("data", 4, dim=-1):
            pyro.sample("a", dist.Normal(0.0, 1.0), obs=first)
            with pyro.plate("repeats", 3, dim=-2):
                pyro.sample("b", dist.Normal(0.0, 2.0), obs=second)

    terms = InformationBottleneckELBO().terms(model, lambda: None)
    expected = -dist.Normal(0.0, 1.0).log_prob(first) - dist.Normal(0.0, 2.0).log_prob(second).sum(0)
    torch.testing.assert_close(terms.distortion, expected)
    torch.testing.assert_close(terms.loss, expected.sum())


def test_without_an_observation_there_is_no_distortion():
    def program():
        pyro.sample("z", dist.Normal(torch.tensor(0.5, dtype=torch.float64), 1.0))

    terms = InformationBottleneckELBO().terms(lambda: pyro.sample("z", dist.Normal(0.0, 1.0)), program)
    assert terms.distortion.item() == 0
    assert terms.loss.item() == pytest.approx(0.125)


def test_vectorised_particles_are_averaged(build):
    """The terms have the shapes of one particle, and the mean of many."""
    program = build("VAE")
    elbo = InformationBottleneckELBO(num_particles=2000, vectorize_particles=True, max_plate_nesting=1)
    terms = elbo.terms(*program.call)
    draws = [InformationBottleneckELBO().terms(*program.call) for _ in range(100)]
    torch.testing.assert_close(terms.rate["z"], draws[0].rate["z"])
    distortion = torch.stack([draw.distortion for draw in draws])
    error = 6 * distortion.std(0) / 10
    assert ((terms.distortion - distortion.mean(0)).abs() < error).all()
    torch.testing.assert_close(terms.loss, (terms.distortion + terms.rate["z"]).sum())


def test_several_particles_are_averaged(build):
    program = build("information dropout")
    terms = seeded(InformationBottleneckELBO(0.5, num_particles=3).terms, *program.call)
    torch.manual_seed(0)
    each = [InformationBottleneckELBO(0.5).terms(*program.call) for _ in range(3)]
    torch.testing.assert_close(terms.distortion, sum(one.distortion for one in each) / 3)
    torch.testing.assert_close(terms.rate["z2"], sum(one.rate["z2"] for one in each) / 3)
    torch.testing.assert_close(terms.loss, sum(one.loss for one in each) / 3)


@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_gradients_against_finite_differences(program, beta):
    """The derivative of the loss in a random direction of all parameters, with the same noise."""
    elbo, step = InformationBottleneckELBO(beta), 1e-5
    loss = seeded(elbo.differentiable_loss, *program.call)
    if not loss.requires_grad:
        pytest.fail("the loss has no gradient")
    gradients = torch.autograd.grad(loss, program.parameters, allow_unused=True)
    direction = [torch.randn_like(p) for p in program.parameters]
    slope = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True) if g is not None)

    def moved(by):
        with torch.no_grad():
            for p, d in zip(program.parameters, direction, strict=True):
                p.add_(by * d)
        value = seeded(elbo.loss, *program.call)
        with torch.no_grad():
            for p, d in zip(program.parameters, direction, strict=True):
                p.sub_(by * d)
        return value

    assert slope.item() == pytest.approx((moved(step) - moved(-step)) / (2 * step), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("options", [{}, {"num_particles": 3}])
def test_likelihood_is_the_law_of_what_is_observed_at_the_draw(build, options):
    program = build("information dropout")
    terms = InformationBottleneckELBO(**options).terms(*program.call)
    assert list(terms.likelihood) == ["y"]
    if not options:
        torch.testing.assert_close(-terms.likelihood["y"].log_prob(program.args[1]), terms.distortion)


@pytest.mark.parametrize("masks", ["layer", "handler"])
def test_what_is_not_charged_has_no_estimator(masks):
    x, y = torch.randn(4, 3), torch.arange(4) % 2
    layer = BinaryDropout if masks == "layer" else InformationDropout
    program = Bottleneck(nn.Sequential(OrderedDict(z1=layer.linear(3, 4))), nn.Linear(4, 2))
    model, guide = program.model, program.guide
    if masks == "handler":
        model, guide = (poutine.mask(side, mask=False) for side in (model, guide))
    terms = InformationBottleneckELBO().terms(model, guide, x, y)
    assert terms.estimator == {"z1": "none"}
    torch.testing.assert_close(terms.rate["z1"], torch.zeros(4))
