"""Observations wherever they stand: in rows, outside of them, in several plates, in none; and what is no array."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor

from ib_pyro import InformationBottleneckELBO, to_arviz

X = torch.tensor([0.3, -1.2, 0.8, 2.0], dtype=torch.float64)


@pytest.fixture(autouse=True)
def double() -> None:
    torch.set_default_dtype(torch.float64)


def guide(x: Tensor) -> None:
    pyro.sample("w", dist.Normal(0.4, 0.3))


def at_a_point(x: Tensor) -> None:
    pyro.sample("w", dist.Delta(torch.tensor(0.4)))


def prior() -> Tensor:
    return pyro.sample("w", dist.Normal(0.0, 1.0))


def scalar(x):
    pyro.sample("y", dist.Normal(prior(), 1.0), obs=torch.tensor(9.5))


def sequential(x):
    w = prior()
    for n in pyro.plate("rows", len(x)):
        pyro.sample(f"y{n}", dist.Normal(w, 1.0), obs=x[n])


def factor_outside(x):
    w = prior()
    pyro.factor("f", -(w**2))
    with pyro.plate("rows", len(x)):
        pyro.sample("y", dist.Normal(w, 1.0), obs=x)


def observation_outside(x):
    w = prior()
    pyro.sample("total", dist.Normal(4 * w, 1.0), obs=torch.tensor(1.9))
    with pyro.plate("rows", len(x)):
        pyro.sample("y", dist.Normal(w, 1.0), obs=x)
        pyro.factor("f", -w * x)


def factors_alone(x):
    w = prior()
    with pyro.plate("rows", len(x)):
        pyro.factor("f", dist.Normal(w, 1.0).log_prob(x))


def two_plates(x):
    w = prior()
    with pyro.plate("rows", len(x)):
        pyro.sample("y", dist.Normal(w, 1.0), obs=x)
    with pyro.plate("others", 3):
        pyro.sample("v", dist.Normal(w, 2.0), obs=torch.ones(3))


def nested(x):
    w = prior()
    with pyro.plate("rows", len(x), dim=-2):
        pyro.sample("y", dist.Normal(w, 1.0), obs=x[:, None])
        with pyro.plate("columns", 3, dim=-1):
            pyro.sample("v", dist.Normal(w, 2.0), obs=x[:, None].expand(len(x), 3))


def masked(x):
    w = prior()
    with pyro.plate("rows", len(x)), poutine.mask(mask=x > 0):
        pyro.sample("y", dist.Normal(w, 1.0), obs=x)
    with poutine.mask(mask=False):
        pyro.sample("v", dist.Normal(w, 2.0), obs=torch.tensor(1.0))


PROGRAMS = {  # and whether there are rows, and something outside of them
    scalar: (False, True),
    sequential: (False, True),
    factor_outside: (True, True),
    observation_outside: (True, True),
    factors_alone: (True, False),
    two_plates: (True, True),
    nested: (True, False),
    masked: (True, True),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_distortions_are_minus_the_log_density_of_what_is_observed(program):
    has_rows, has_others = PROGRAMS[program]
    result = to_arviz((program, guide), X, num_samples=5)
    statistics, total = result["sample_stats"], 0.0
    if has_rows:
        assert statistics["distortion"].dims == ("chain", "draw", "obs_id")
        assert ("distortion_global" in statistics) == has_others
        total = statistics["distortion"].sum("obs_id")
    if has_others:
        name = "distortion_global" if has_rows else "distortion"
        assert statistics[name].dims == ("chain", "draw")
        total = total + statistics[name]
    for index, w in enumerate(result["posterior"]["w"].values[0]):
        model = poutine.condition(program, data={"w": torch.tensor(w)})
        trace = poutine.trace(model).get_trace(X)
        log_joint = trace.log_prob_sum() - dist.Normal(0.0, 1.0).log_prob(torch.tensor(w))
        np.testing.assert_allclose(total[0, index], -log_joint, rtol=1e-12)


@pytest.mark.parametrize("program", PROGRAMS)
def test_statistics_add_up_to_the_loss_at_beta_one(program):
    statistics = to_arviz((program, at_a_point), X, num_samples=1)["sample_stats"]
    loss = InformationBottleneckELBO(beta=1.0).loss(program, at_a_point, X)
    np.testing.assert_allclose(sum(float(values.sum()) for values in statistics.values()), loss, rtol=1e-12)


@pytest.mark.parametrize("name", [None, "r.nc", "r.zarr"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_files_hold_them_too(tmp_path, same_groups, program, name):
    path = None if name is None else tmp_path / name
    result = to_arviz((program, guide), X, num_samples=2, seed=1, path=path)
    same_groups(result, to_arviz((program, guide), X, num_samples=2, seed=1))


def test_of_global_observations_all_is_told():
    result = to_arviz((scalar, guide), torch.zeros(1), num_samples=3)
    assert result["observed_data"]["y"].dims == ()
    assert float(result["observed_data"]["y"]) == 9.5
    for group in ("log_likelihood", "posterior_predictive", "prior_predictive"):
        assert result[group]["y"].dims == ("chain", "draw")


def test_rows_are_cut_where_only_factors_are_in_their_plate(same_groups):
    batched = to_arviz((factors_alone, guide), X, num_samples=3, batch_size=3)
    w, distortion = batched["posterior"]["w"].values, batched["sample_stats"]["distortion"].values
    expected = -dist.Normal(torch.tensor(w)[..., None], 1.0).log_prob(X)
    np.testing.assert_allclose(distortion, expected, rtol=1e-12)


def test_what_has_no_rows_may_not_depend_on_them():
    def model(x):
        w = prior()
        pyro.factor("f", x.sum())
        with pyro.plate("rows", len(x)):
            pyro.sample("y", dist.Normal(w, 1.0), obs=x)

    to_arviz((model, guide), X, num_samples=2)
    with pytest.raises(
        ValueError, match="'distortion_global' is outside of the plate over x, and yet differs"
    ):
        to_arviz((model, guide), X, num_samples=2, batch_size=2)


def test_two_plates_of_the_size_of_x_are_told_apart_by_name():
    def model(x):
        w = prior()
        for name in ("first", "second"):
            with pyro.plate(f"rows_{name}", len(x)):
                pyro.sample(name, dist.Normal(w, 1.0), obs=x)

    with pytest.raises(ValueError, match=r"plates \['rows_first', 'rows_second'\] all have the size of x, 4"):
        to_arviz((model, guide), X, num_samples=2)
    result = to_arviz((model, guide), X, num_samples=2, plate="rows_first")
    assert result["log_likelihood"]["first"].dims[2:] == ("obs_id",)
    assert result["log_likelihood"]["second"].dims[2:] == ("rows_second",)
    np.testing.assert_allclose(
        result["sample_stats"]["distortion_global"], -result["log_likelihood"]["second"].sum("rows_second")
    )


def test_sites_that_come_and_go_are_refused():
    def model(x):
        if pyro.sample("coin", dist.Bernoulli(0.5)) > 0:
            pyro.sample("y", dist.Normal(0.0, 1.0), obs=x[0])

    def flip(x):
        pyro.sample("coin", dist.Bernoulli(0.5))

    with pytest.raises(ValueError, match="is in some draws and not in others"):
        to_arviz((model, flip), X, num_samples=50)


@pytest.mark.parametrize("appears", [True, False])
def test_a_site_that_comes_or_goes_after_the_first_look_is_refused(appears):
    calls = []

    def model(x):
        calls.append(len(x))
        pyro.sample("y", dist.Normal(prior(), 1.0), obs=x[0])
        if (len(calls) > 10) == appears:
            pyro.deterministic("late", x.sum())

    with pytest.raises(ValueError, match="site 'late' is in some draws and not in others"):
        to_arviz((model, guide), X, num_samples=20, groups=["posterior"])


def test_a_prior_whose_sites_come_and_go_is_refused():
    def model(x):
        s = pyro.sample("s", dist.Bernoulli(torch.tensor(0.5)))
        pyro.sample("y" if s > 0 else "v", dist.Normal(0.0, 1.0), obs=x[0])

    def always(x):
        pyro.sample("s", dist.Delta(torch.tensor(1.0)))

    with pytest.raises(
        ValueError, match="group 'prior_predictive': variable 'y' is in some draws and not in others"
    ):
        to_arviz((model, always), X, num_samples=50, groups=["prior_predictive"])


def test_shapes_that_change_are_refused():
    def model(x):
        n = int(pyro.sample("n", dist.Categorical(torch.ones(3))))
        pyro.deterministic("ones", torch.ones(n + 1))

    def choose(x):
        pyro.sample("n", dist.Categorical(torch.ones(3)))

    with pytest.raises(
        ValueError, match=r"site 'ones': variable 'ones' has shape \(\d,\) in one draw where others"
    ):
        to_arviz((model, choose), X, num_samples=50)


def test_observations_that_follow_the_draw_are_no_data():
    def model(x):
        w = prior()
        with pyro.plate("rows", len(x)):
            pyro.sample("residual", dist.Normal(0.0, 1.0), obs=x - w)

    with pytest.raises(
        ValueError, match="'observed_data': site 'residual' has another value in another draw"
    ):
        to_arviz((model, guide), X, num_samples=2)
    to_arviz((model, guide), X, num_samples=2, groups=["posterior", "sample_stats"])


def test_missing_data_may_be_nan():
    def model(x):
        w = prior()
        with pyro.plate("rows", len(x)), poutine.mask(mask=~x.isnan()):
            pyro.sample("y", dist.Normal(w, 1.0, validate_args=False), obs=x)

    x = X.clone()
    x[1] = torch.nan
    result = to_arviz((model, guide), x, num_samples=2)
    np.testing.assert_array_equal(result["observed_data"]["y"], x)


def test_complex_values_are_refused_by_name():
    def model(x):
        prior()
        pyro.deterministic("c", torch.complex(x, x))

    with pytest.raises(ValueError, match=r"site 'c' has complex values.*view_as_real"):
        to_arviz((model, guide), X, num_samples=2)
    real = to_arviz((model, guide), X, num_samples=2, sites=["w"])
    assert "c" not in real["posterior"]


def test_a_distortion_is_summed_in_single_precision():
    def model(x):
        with pyro.plate("rows", len(x), dim=-2), pyro.plate("columns", x.shape[1], dim=-1):
            pyro.sample("y", dist.Normal(torch.zeros_like(x), 1.0), obs=x)

    x = torch.randn(2, 4000, dtype=torch.bfloat16)
    result = to_arviz((model, lambda x: None), x, num_samples=1)
    each = result["log_likelihood"]["y"].sum("columns")
    np.testing.assert_allclose(result["sample_stats"]["distortion"], -each, rtol=1e-6)
