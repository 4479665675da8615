"""What the draws of a seed depend on: seed, number of draws and batches, and nothing else that is exported."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck, to_arviz
from ib_pyro.nn import InformationDropout

OPTIONS = {"num_samples": 4, "batch_size": 3, "seed": 7}


def proper(inputs, outputs):
    return InformationDropout.linear(inputs, outputs, activation="softplus", prior="log-normal")


@pytest.fixture
def program():
    """Two layers with proper priors, so that there is every group, and a decoder with noise of its own."""
    return Bottleneck(
        nn.Sequential(proper(6, 5), proper(5, 4)), nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3))
    ).double()


SELECTIONS = [
    {"groups": ["posterior"]},
    {"groups": ["log_likelihood", "posterior"]},
    {"groups": ["posterior", "posterior_predictive"]},
    {"groups": ["posterior", "prior"]},
    {"groups": ["sample_stats"]},
    {"groups": ["log_likelihood"]},
    {"groups": ["posterior_predictive"]},
    {"groups": ["prior_predictive"]},
    {"sites": ["z2"]},
]


@pytest.mark.parametrize("chosen", SELECTIONS, ids=str)
@pytest.mark.parametrize("is_seeded", [True, False])
def test_what_else_is_exported_moves_no_draw(program, labelled, group_names, chosen, is_seeded):
    options = OPTIONS if is_seeded else {**OPTIONS, "seed": None}
    torch.manual_seed(11)
    whole = to_arviz(program, *labelled, **options)
    torch.manual_seed(11)
    part = to_arviz(program, *labelled, **options, **chosen)
    for group in group_names(part):
        for name, values in part[group].data_vars.items():
            np.testing.assert_array_equal(values, whole[group][name], err_msg=f"{group}/{name}")


@pytest.mark.parametrize("num_programs", [1, 2])
def test_z_is_the_same_with_and_without_y(program, labelled, num_programs):
    x, y = labelled
    programs = [program] * num_programs
    given, missing = (to_arviz(programs, x, target, **OPTIONS)["posterior"] for target in (y, None))
    for site in ("z1", "z2"):
        np.testing.assert_array_equal(given[site], missing[site])
    assert not np.array_equal(given["z1"][0, 0], given["z1"][-1, 1])


def test_a_likelihood_that_is_exported_alone_is_that_of_the_same_z():
    def model(x, y=None):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(x, y=None):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0))

    x = torch.randn(7)
    z = to_arviz((model, guide), x, **OPTIONS, groups=["posterior", "posterior_predictive"])["posterior"]["z"]
    apart = to_arviz((model, guide), x, x + 1, **OPTIONS, groups=["log_likelihood"])["log_likelihood"]["y"]
    np.testing.assert_allclose(apart, dist.Normal(torch.tensor(z.values), 1.0).log_prob(x + 1), rtol=1e-5)


def test_the_batches_that_the_default_makes_may_be_asked_for(program, labelled, same_groups):
    options = {"num_samples": 3, "seed": 1}
    default = to_arviz(program, *labelled, **options)
    same_groups(default, to_arviz(program, *labelled, **options, batch_size=default.attrs["batch_size"]))


def test_draws_of_z_of_y_and_of_the_prior_are_independent():
    def model(x, y=None):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))
            pyro.sample("y", dist.Normal(0 * z, 1.0), obs=y)

    def guide(x, y=None):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))

    x = torch.zeros(3000)
    result = to_arviz((model, guide), x, x, num_samples=2, seed=0)
    draws = [
        result[group][name].values.ravel()
        for group, name in (
            ("posterior", "z"),
            ("posterior_predictive", "y"),
            ("prior", "z"),
            ("prior_predictive", "y"),
        )
    ]
    correlations = np.corrcoef(draws)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(6000)
