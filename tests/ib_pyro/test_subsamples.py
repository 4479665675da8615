"""What is averaged over draws, sample by sample, is of one subsample of the data."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from ib_pyro import InformationBottleneckELBO
from ib_pyro.diagnostics import importance_log_weights, importance_weighted_log_likelihood
from ib_pyro.elbo import ImportanceWeightedELBO
from ib_pyro.subsamples import one_subsample

X = torch.tensor([-6.0, -2.0, 0.0, 1.0, 3.0, 8.0], dtype=torch.float64)
EVIDENCE = dist.Normal(torch.zeros(6, dtype=torch.float64), 2**0.5).log_prob(X)


def half():
    return {"subsample_size": 3}


def program(options=half):
    """``z ~ N(0, 1)``, ``x ~ N(z, 1)``, and the posterior as guide: every weight is the evidence of its sample."""

    def model():
        with pyro.plate("data", 6, **options()) as i:
            z = pyro.sample("z", dist.Normal(torch.zeros(()).double(), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=X[i])

    def guide():
        with pyro.plate("data", 6, **options()) as i:
            pyro.sample("z", dist.Normal(X[i] / 2, 0.5**0.5))

    return model, guide


@pytest.mark.parametrize("gradient", ["iwae", "dreg"])
@pytest.mark.parametrize("options", [{}, {"vectorize_particles": True, "max_plate_nesting": 1}])
def test_the_importance_weighted_bound_weighs_draws_of_one_sample(gradient, options):
    losses = torch.tensor(
        [ImportanceWeightedELBO(8, gradient=gradient, **options).loss(*program()) for _ in range(40)]
    )
    subsets = 2 * -EVIDENCE[torch.combinations(torch.arange(6), 3)].sum(1)
    # Each loss is the exact one of some three samples.
    assert ((losses[:, None] - subsets).abs().min(1).values < 1e-4).all()
    assert len(losses.round(decimals=3).unique()) > 5


def test_so_do_the_diagnostics():
    torch.manual_seed(3)
    weights = importance_log_weights(*program(), num_samples=16)
    torch.testing.assert_close(weights, weights[:1].expand(16, 3))
    bound = importance_weighted_log_likelihood(*program(), num_samples=16)
    assert ((bound[:, None] - EVIDENCE).abs().min(1).values < 1e-10).all()


def test_a_plate_of_the_model_alone_is_held_too():
    def model():
        mean = pyro.sample("mean", dist.Normal(torch.zeros(()).double(), 1.0))
        with pyro.plate("data", 6, subsample_size=3) as i:
            pyro.sample("x", dist.Normal(mean, 1.0), obs=X[i])

    def guide():
        pyro.sample("mean", dist.Delta(torch.tensor(0.5).double()))

    distortion = InformationBottleneckELBO(num_particles=20).terms(model, guide).distortion
    every = -dist.Normal(0.5, 1.0).log_prob(X)
    assert ((distortion[:, None] - every).abs().min(1).values < 1e-10).all()


def test_terms_are_means_over_draws_of_one_sample():
    terms = InformationBottleneckELBO(num_particles=200).terms(*program())
    rates = 0.5 * (0.5 + (X / 2).square() - 1 - math.log(0.5))
    places = (terms.rate["z"][:, None] - rates).abs()
    assert (places.min(1).values < 1e-8).all()
    expected = 0.5 * ((X / 2).square() + 0.5) + 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(terms.distortion, expected[places.argmin(1)], atol=0.6, rtol=0)
    torch.testing.assert_close(terms.loss, 2 * (terms.distortion + terms.rate["z"]).sum())


def test_the_loss_alone_may_draw_a_subsample_for_each_particle():
    """As Pyro's own does, under the same seed."""
    torch.manual_seed(0)
    loss = InformationBottleneckELBO(num_particles=5).loss(*program())
    torch.manual_seed(0)
    assert loss == pytest.approx(pyro.infer.TraceMeanField_ELBO(num_particles=5).loss(*program()))


def fresh():
    return {"subsample": torch.randperm(6)[:3]}


def same():
    return {"subsample": torch.tensor([0, 2, 5])}


@pytest.mark.parametrize(
    "evaluate",
    [
        ImportanceWeightedELBO(8).loss,
        InformationBottleneckELBO(num_particles=8).terms,
        lambda *p: importance_log_weights(*p, num_samples=8),
    ],
    ids=["bound", "terms", "weights"],
)
def test_samples_that_a_program_draws_itself_are_refused_if_they_change(evaluate):
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="plate 'data': it is given another subsample= in every run"):
        evaluate(*program(fresh))
    evaluate(*program(same))


def test_samples_that_the_caller_names_are_those():
    weights = importance_log_weights(*program(same), num_samples=2)
    torch.testing.assert_close(weights, EVIDENCE[[0, 2, 5]].expand(2, 3))


def test_a_plate_of_another_size_in_a_later_run_is_refused():
    sizes = iter((6, 5))
    with one_subsample():
        pyro.plate("data", next(sizes), subsample_size=3)
        with pytest.raises(ValueError, match="plate 'data': it draws 3 of 6 samples in one run and 3 of 5"):
            pyro.plate("data", next(sizes), subsample_size=3)


def test_a_whole_plate_may_have_any_size():
    with one_subsample():
        assert [len(pyro.plate("data", size).indices) for size in (2, 3)] == [2, 3]
