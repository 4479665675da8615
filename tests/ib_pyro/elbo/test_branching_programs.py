"""Programs whose sites depend on a value: the loss has a mean over particles, what some lack has none."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from ib_pyro import InformationBottleneckELBO
from ib_pyro.diagnostics import importance_log_weights
from ib_pyro.elbo import ImportanceWeightedELBO


def zero():
    return torch.zeros((), dtype=torch.float64)


def branching():
    def run(loc):
        a = pyro.sample("a", dist.Normal(zero(), 1.0))
        if a > 0:
            pyro.sample("b", dist.Normal(zero() + loc, 1.0))

    return (lambda: run(0.0)), (lambda: run(3.0))


def of_sizes(*sizes, names=("data", "data")):
    """A plate of another size, or name, in the second run."""
    order = []

    def model():
        size, name = order[-1]
        with pyro.plate(name, size):
            z = pyro.sample("z", dist.Normal(torch.zeros(size).double(), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=torch.ones(size).double())

    def guide():
        order.append((sizes[len(order)], names[len(order)]))
        size, name = order[-1]
        with pyro.plate(name, size):
            pyro.sample("z", dist.Normal(torch.zeros(size).double(), 1.0))

    return model, guide


@pytest.mark.parametrize("seed", range(4))
def test_the_loss_is_the_mean_over_particles(seed):
    torch.manual_seed(seed)
    loss = InformationBottleneckELBO(num_particles=6).loss(*branching())
    torch.manual_seed(seed)
    one = [InformationBottleneckELBO().loss(*branching()) for _ in range(6)]
    assert loss == pytest.approx(sum(one) / 6)


@pytest.mark.parametrize("objective", [InformationBottleneckELBO, ImportanceWeightedELBO])
@pytest.mark.parametrize("seed", range(4))  # with the site in the first particle, and without it
def test_terms_name_the_site_that_some_particles_lack(objective, seed):
    torch.manual_seed(seed)
    with pytest.raises(
        ValueError, match=r"site 'b': its part of the terms is in \d of 6 particles.*the loss alone"
    ):
        objective(num_particles=6).terms(*branching())


@pytest.mark.parametrize("gradient", ["iwae", "dreg"])
def test_the_importance_weighted_loss_is_that_of_the_weights(gradient):
    torch.manual_seed(1)
    loss = ImportanceWeightedELBO(6, gradient=gradient).loss(*branching())
    torch.manual_seed(1)
    weights = importance_log_weights(*branching(), num_samples=6)
    assert loss == pytest.approx(math.log(6) - weights.logsumexp(0).item())


def test_terms_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"the distortion has shapes \[\(3,\), \(4,\)\] in 2 particles"):
        InformationBottleneckELBO(num_particles=2).terms(*of_sizes(3, 4))


# A plate of one sample would broadcast.
@pytest.mark.parametrize(
    "program",
    [lambda: of_sizes(3, 4), lambda: of_sizes(3, 1), lambda: of_sizes(3, 3, names=("data", "other"))],
    ids=["sizes", "one", "names"],
)
@pytest.mark.parametrize(
    "evaluate",
    [ImportanceWeightedELBO(2).loss, lambda *p: importance_log_weights(*p, num_samples=2)],
    ids=["bound", "weights"],
)
def test_weights_of_other_samples_are_refused(program, evaluate):
    with pytest.raises(
        ValueError, match=r"of the plates \['data'\], of shape \(3,\).*as where a program branches"
    ):
        evaluate(*program())


@pytest.mark.parametrize("num_particles", [1, 3])
@pytest.mark.parametrize("objective", [InformationBottleneckELBO, ImportanceWeightedELBO])
def test_without_an_observation_the_distortion_is_zero(objective, num_particles):
    def model():
        pyro.sample("z", dist.Normal(zero(), 1.0))

    terms = objective(num_particles=num_particles).terms(model, model)
    assert terms.distortion == 0
    assert terms.distortion.is_floating_point()
    assert terms.loss.item() == pytest.approx(0.0, abs=1e-12)


def test_a_rate_that_some_particles_have_at_the_draw_is_at_the_draw():
    laws = iter([dist.LogNormal(zero(), 1.0), dist.Normal(zero(), 1.0)])

    def model():
        pyro.sample("z", dist.Normal(zero(), 1.0))

    def guide():
        pyro.sample("z", next(laws))

    terms = InformationBottleneckELBO(num_particles=2, on_no_closed_form="monte-carlo").terms(model, guide)
    assert terms.estimator == {"z": "monte-carlo"}
