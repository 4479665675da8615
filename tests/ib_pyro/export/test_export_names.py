"""Every name of an export stands for one thing, in memory and in files alike, or is refused with both claimants."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.contrib.autoname import scope
from torch import nn

from ib_pyro import to_arviz
from ib_pyro.distributions import MultiplicativeNormal
from ib_pyro.nn import InformationDropout

X = torch.zeros(4)


def pair(*sites, deterministic=(), plate="rows", inner=None):
    """A program of independent global normal sites, all at 3.0 in the guide, and an observed row for each of x."""

    def model(x):
        for name in sites:
            pyro.sample(name, dist.Normal(torch.zeros(2), 1.0).to_event(1))
        for name in deterministic:
            pyro.deterministic(name, torch.full((), 7.0))
        if inner is not None:
            with pyro.plate(inner, 5):
                pyro.sample("inner", dist.Normal(0.0, 1.0))
        with pyro.plate(plate, len(x)):
            pyro.sample("y", dist.Normal(0.0, 1.0), obs=x)

    def guide(x):
        for name in sites:
            pyro.sample(name, dist.Normal(torch.full((2,), 3.0), 1e-6).to_event(1))
        if inner is not None:
            with pyro.plate(inner, 5):
                pyro.sample("inner", dist.Normal(0.0, 1.0))

    return model, guide


@pytest.mark.parametrize("sites", [("mu_scale", "mu"), ("mu", "mu_scale"), ("mu", "mu_loc")])
def test_a_noise_variable_does_not_replace_a_site(sites):
    taken = next(name for name in sites if name != "mu")
    with pytest.raises(ValueError, match=rf"group 'posterior': .*would both be called '{taken}'") as refusal:
        to_arviz(pair(*sites), X, num_samples=2)
    assert f"site '{taken}'" in str(refusal.value)
    assert "of site 'mu'" in str(refusal.value)
    # Each of the ways out.
    alone = to_arviz(pair(*sites), X, num_samples=2, sites=[taken])
    np.testing.assert_allclose(alone["posterior"][taken], 3.0, rtol=1e-4)
    noise = to_arviz(pair(*sites), X, num_samples=2, sites=["mu"])
    np.testing.assert_allclose(noise["posterior"][taken], 3.0 if taken == "mu_loc" else 1e-6, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:site 'a'. no proper prior")
def test_two_noise_variables_do_not_replace_each_other():
    layers = nn.ModuleDict({"a": InformationDropout.linear(2, 3, name="a")})

    def model(x):
        with pyro.plate("rows", len(x)):
            a = layers["a"].sample_prior(torch.Size([3]), torch.Size([len(x)]))
            pyro.sample("a_log", dist.Normal(torch.zeros(3), 1.0).to_event(1))
            pyro.sample("y", dist.Normal(a.sum(-1), 1.0), obs=x[:, 0])

    def guide(x):
        with pyro.plate("rows", len(x)):
            layers["a"](x)
            pyro.sample("a_log", MultiplicativeNormal(torch.ones(len(x), 3), 0.5).to_event(1))

    with pytest.raises(
        ValueError, match="log_eps of site 'a' and the noise's eps of site 'a_log' would both be"
    ):
        to_arviz((model, guide), torch.rand(4, 2), num_samples=2)


def test_a_deterministic_site_does_not_replace_a_noise_variable():
    with pytest.raises(
        ValueError, match="scale of site 'w' and site 'w_scale' would both be called 'w_scale'"
    ):
        to_arviz(pair("w", deterministic=["w_scale"]), X, num_samples=2)


@pytest.mark.parametrize(
    ("program", "options", "name"),
    [
        (pair("draw"), {}, "draw"),
        (pair("chain"), {}, "chain"),
        (pair("obs_id"), {}, "obs_id"),
        (pair(deterministic=["obs_id"]), {}, "obs_id"),
        (pair("w"), {"data_dim": "w"}, "w"),
        (pair("w"), {"data_dim": "y"}, "y"),
        (pair("w"), {"data_dim": "w_rate"}, "w_rate"),
        (pair("w"), {"data_dim": "distortion"}, "distortion"),
        (pair("w"), {"data_dim": "index"}, "index"),
        (pair("w"), {"dims": {"w": ["w"]}}, "w"),
        (pair("w", "w_dim_0"), {}, "w_dim_0"),
        (pair("w", inner="w_rate"), {}, "w_rate"),
        (pair("w"), {"constant_data": {"obs_id": X}}, "obs_id"),
        (pair("w"), {"constant_data": {"w_dim_0": X}}, "w_dim_0"),
    ],
)
def test_no_variable_has_the_name_of_a_dimension(program, options, name):
    with pytest.raises(
        ValueError, match=rf"would be called '{name}', as a dimension of the result is.*rename it"
    ):
        to_arviz(program, X, num_samples=2, **options)


@pytest.mark.parametrize(
    ("program", "options", "message"),
    [
        (
            pair("w", inner="draw"),
            {},
            "plate 'draw': the draws have a dimension of that name; rename the plate",
        ),
        (pair("w", inner="obs_id"), {}, "plate 'obs_id' and the rows of x would share.*data_dim="),
        (
            pair("w", inner="w_dim_0"),
            {},
            "site 'w': a dimension of its own would be called 'w_dim_0', as a plate",
        ),
        (pair("w"), {"data_dim": "w_dim_0"}, r"called 'w_dim_0'.*dims=\{'w'"),
        (pair("w"), {"data_dim": "draw"}, "data_dim='draw' is the name of the draws' own"),
        (pair("w"), {"data_dim": ""}, "data_dim: the name '' is empty"),
        (pair("w", inner="in/ner"), {}, "plate 'in/ner': the name 'in/ner' has a slash"),
        (pair("w"), {"dims": {"w": "ab"}}, r"dims\['w'\]='ab' is one string; pass a list"),
        (pair("w"), {"dims": {"w": ["a/b"]}}, r"dims\['w'\]: the name 'a/b' has a slash"),
        (pair("w"), {"dims": {"w": ["a", "a"]}}, r"dims\['w'\]: 'a' is named twice"),
        (
            pair("weight"),
            {"dims": {"wieght": ["a"]}},
            "dims: site 'wieght' is unknown; did you mean 'weight'",
        ),
        (pair("w"), {"sites": ["w", "w"]}, "sites: 'w' is named twice"),
        (pair("w"), {"groups": ["prior", "prior"]}, "groups: 'prior' is named twice"),
        (pair("w"), {"constant_data": {"": X}}, "constant_data: the name '' is empty"),
        (pair("w"), {"constant_data": {3: X}}, "the name 3 is a int, not a string"),
    ],
)
def test_names_that_a_user_gives_are_of_one_thing(program, options, message):
    with pytest.raises(ValueError, match=message):
        to_arviz(program, X, num_samples=2, **options)


def test_dimensions_of_one_name_on_purpose_are_shared():
    result = to_arviz(pair("a", "b", inner="five"), X, num_samples=2, dims={"a": ["two"], "b": ["two"]})
    assert result["posterior"]["a"].dims == result["posterior"]["b"].dims == ("chain", "draw", "two")


def test_observed_sites_and_constants_may_be_named_in_dims():
    model = pair("w")
    dims = {"y": [], "c": ["column"]}
    result = to_arviz(model, X, num_samples=2, constant_data={"c": torch.zeros(4, 3)}, dims=dims)
    assert result["constant_data"]["c"].dims == ("obs_id", "column")


NAMES = ["a.b", "a b", "a ", "é", "0", "__a", "attrs", "zarr.json", "a:b", "index", "distortion", "w"]
UNHOLDABLE = ["a/b", "a\\b", "", ".", "..", ".zgroup", "a\n", "a\0b", "_nc4_non_coord_x"]


@pytest.mark.parametrize("place", ["memory", "r.nc", "r.zarr"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_held_everywhere(tmp_path, place, name):
    path = None if place == "memory" else tmp_path / place
    result = to_arviz(pair(name), X, num_samples=2, path=path)
    np.testing.assert_allclose(result["posterior"][name], 3.0, rtol=1e-4)
    assert {f"{name}_rate", "distortion"} == set(result["sample_stats"].data_vars)


@pytest.mark.parametrize("place", ["memory", "r.nc", "r.zarr"])
@pytest.mark.parametrize("name", UNHOLDABLE)
def test_a_name_is_refused_everywhere(tmp_path, place, name):
    path = None if place == "memory" else tmp_path / place
    with pytest.raises(ValueError, match="group 'posterior': site .* no file holds it: rename it"):
        to_arviz(pair(name), X, num_samples=2, path=path)
    assert list(tmp_path.iterdir()) == []


def test_a_scoped_program_is_refused_by_name():
    model, guide = pair("w")
    scoped = scope(model, prefix="v"), scope(guide, prefix="v")
    with pytest.raises(ValueError, match=r"site 'v/w'.*has a slash.*autoname.scope"):
        to_arviz(scoped, X, num_samples=2)


def test_names_are_looked_at_before_anything_is_drawn():
    calls = []
    model, guide = pair("draw")

    def counted(x):
        calls.append(len(x))
        guide(x)

    with pytest.raises(ValueError, match="site 'draw'"):
        to_arviz((model, counted), torch.zeros(40), num_samples=50, batch_size=2)
    assert set(calls) == {2}
    assert len(calls) < 5
