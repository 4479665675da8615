"""With beta = 1 the loss is Pyro's own, to the last digit, and its expectation that of ``Trace_ELBO``."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoNormal

from ib_pyro import InformationBottleneckELBO
from ib_pyro.subsamples import one_subsample


def seeded(seed, function, *args):
    torch.manual_seed(seed)
    return function(*args)


@pytest.mark.parametrize("options", [{}, {"num_particles": 3}])
def test_the_loss_to_the_last_digit(program, options):
    ours, pyros = InformationBottleneckELBO(**options), TraceMeanField_ELBO(**options)
    for seed in range(3):
        expected = seeded(seed, pyros.loss, *program.call)
        assert seeded(seed, ours.loss, *program.call) == expected
        with one_subsample():  # of which terms are means, sample by sample
            of_one = seeded(seed, pyros.loss, *program.call)
        assert seeded(seed, ours.terms, *program.call).loss.item() == pytest.approx(of_one, rel=1e-14)
        assert seeded(seed, ours(*program.call[:2]), *program.args).item() == expected
        assert seeded(seed, ours.loss_and_grads, *program.call) == expected


def test_the_gradient_to_the_last_digits(program):
    gradients = []
    for elbo in (InformationBottleneckELBO(), TraceMeanField_ELBO()):
        loss = seeded(0, elbo.differentiable_loss, *program.call)
        gradients.append(torch.autograd.grad(loss, program.parameters, allow_unused=True))
    for ours, pyros in zip(*gradients, strict=True):
        if ours is None or pyros is None:
            assert all(gradient is None or not gradient.any() for gradient in (ours, pyros))
        else:
            torch.testing.assert_close(ours, pyros, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["information", "binary", "gaussian", "constant", "VAE", "scale and mask"])
def test_vectorised_particles_to_the_last_digits(build, name):
    options = {"num_particles": 7, "vectorize_particles": True, "max_plate_nesting": 1}
    program = build(name, batch_norm=False)
    ours, pyros = InformationBottleneckELBO(**options), TraceMeanField_ELBO(**options)
    expected = seeded(0, pyros.loss, *program.call)
    assert seeded(0, ours.loss, *program.call) == pytest.approx(expected, rel=1e-14)
    assert seeded(0, ours.terms, *program.call).loss.item() == pytest.approx(expected, rel=1e-14)


def expectation(elbo, program, draws):
    losses = torch.tensor([elbo.loss(*program.call) for _ in range(draws)], dtype=torch.float64)
    return losses.mean().item(), losses.std().item() / math.sqrt(draws)


@pytest.mark.parametrize(
    "name",
    [
        "information dropout",
        "information dropout, softplus",
        "scale and mask",
        "steps and factors",
    ],
)
def test_the_expectation_is_that_of_a_sampled_rate(build, name):
    program = build(name)
    ours = expectation(InformationBottleneckELBO(), program, 100)
    sampled = expectation(Trace_ELBO(), program, 200)
    assert abs(ours[0] - sampled[0]) < 5 * math.hypot(ours[1], sampled[1]) + 1e-9


class TestConstrainedSites:
    """Pyro 1.9 drops the Jacobian of an automatic guide's ``Delta``; this ELBO keeps it."""

    @staticmethod
    def model(x):
        rate = pyro.sample("rate", dist.LogNormal(x.new_zeros(()), 0.5))
        with pyro.plate("data", len(x)):
            scale = pyro.sample("scale", dist.LogNormal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(rate, scale), obs=x)

    @pytest.fixture
    def program(self):
        torch.set_default_dtype(torch.float64)
        guide, x = AutoNormal(self.model), torch.randn(5)
        guide(x)
        return guide, x

    def test_equals_a_sampled_rate_in_expectation(self, program):
        guide, x = program
        ours = [InformationBottleneckELBO().loss(self.model, guide, x) for _ in range(150)]
        sampled = [Trace_ELBO().loss(self.model, guide, x) for _ in range(150)]
        ours, sampled = torch.tensor(ours), torch.tensor(sampled)
        error = math.hypot(ours.std().item(), sampled.std().item()) / math.sqrt(150)
        assert abs(ours.mean() - sampled.mean()) < 5 * error

    def test_is_even_equal_draw_by_draw(self, program):
        guide, x = program
        ours = seeded(0, InformationBottleneckELBO().loss, self.model, guide, x)
        assert ours == pytest.approx(seeded(0, Trace_ELBO().loss, self.model, guide, x), rel=1e-12)

    def test_differs_from_pyros_by_the_jacobian(self, program):
        guide, x = program
        trace = seeded(0, poutine.trace(guide).get_trace, x)
        jacobian = sum(trace.nodes[name]["fn"].log_density.sum() for name in ("rate", "scale"))
        ours = seeded(0, InformationBottleneckELBO().loss, self.model, guide, x)
        pyros = seeded(0, TraceMeanField_ELBO().loss, self.model, guide, x)
        assert abs(jacobian) > 1e-3
        assert ours - pyros == pytest.approx(jacobian.item(), rel=1e-9)
