"""Several programs as the chains of one export, and labels of the rows."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from ib_pyro import Bottleneck, to_arviz
from ib_pyro.nn import AdditiveNormal, BinaryDropout, InformationDropout

GROUPS = [
    "posterior",
    "sample_stats",
    "posterior_predictive",
    "log_likelihood",
    "observed_data",
    "constant_data",
]


def make(seed, width=5):
    torch.manual_seed(seed)
    layers = OrderedDict(z1=InformationDropout.linear(6, width), z2=InformationDropout.linear(width, 4))
    return Bottleneck(nn.Sequential(layers), nn.Linear(4, 3)).double()


def test_each_program_is_a_chain_with_its_own_values(labelled):
    programs = [make(0), make(1), make(2)]
    result = to_arviz(programs, *labelled, num_samples=4, batch_size=3, coords={"chain": [0, 1, 17]})
    assert dict(result["posterior"]["z1"].sizes) == {"chain": 3, "draw": 4, "obs_id": 11, "z1_unit": 5}
    assert result["posterior"]["chain"].values.tolist() == [0, 1, 17]
    assert result.attrs["num_programs"] == 3
    for chain, program in enumerate(programs):
        alone = to_arviz(program, *labelled, num_samples=4)
        for name in ("z1_alpha", "z1_activation"):
            np.testing.assert_allclose(
                result["posterior"][name][chain], alone["posterior"][name][0], rtol=1e-12
            )
    assert "chain" not in result["observed_data"]["y"].dims


def test_the_first_chain_and_a_single_program_do_not_differ_in_what_they_hold(labelled, same_groups):
    single = to_arviz(make(0), *labelled, num_samples=4, seed=0)
    same_groups(to_arviz([make(0)], *labelled, num_samples=4, seed=0), single)
    assert "num_programs" not in single.attrs


def test_draws_that_repeat_are_held_once_a_chain(labelled):
    result = to_arviz([make(0), make(1)], *labelled, num_samples=50)
    activation = result["posterior"]["z1_activation"].values
    assert activation.strides[1] == 0
    assert activation.strides[0] != 0


@pytest.mark.parametrize("name", ["draws.nc", "draws.zarr"])
def test_a_file_holds_the_same_chains(labelled, tmp_path, same_groups, name):
    programs, options = [make(0), make(1)], {"num_samples": 3, "batch_size": 4, "seed": 5}
    labels = {"digit": labelled[1], "kind": [f"row {row}" for row in range(11)]}
    memory = to_arviz(programs, *labelled, labels=labels, **options)
    file = to_arviz(programs, *labelled, labels=labels, path=tmp_path / name, **options)
    same_groups(file, memory)
    for group in GROUPS:
        assert file[group]["digit"].values.tolist() == labelled[1].tolist()
        assert file[group]["kind"].values.tolist() == labels["kind"]


def test_programs_of_other_sites_or_shapes_are_refused_by_name(labelled):
    with pytest.raises(
        ValueError, match=r"variable 'z1' of .* \(2, 3, 11, 5\) of program 0 and .* 7\) of program 1"
    ):
        to_arviz([make(0), make(1, width=7)], *labelled, num_samples=3)
    other = Bottleneck(nn.Sequential(OrderedDict(z1=BinaryDropout.linear(6, 5))), nn.Linear(5, 3)).double()
    with pytest.raises(ValueError, match="has a variable 'z1_alpha' of one of the programs 0 and 1"):
        to_arviz([make(0), other], *labelled, num_samples=3)
    with pytest.raises(TypeError, match="a tuple is a model and a guide; pass several programs as a list"):
        to_arviz((make(0), make(1)), *labelled)
    with pytest.raises(ValueError, match="program: the list is empty"):
        to_arviz([], *labelled)
    with pytest.raises(TypeError, match=r"program must be a Bottleneck, .* \(model, guide\), or .*; got int"):
        to_arviz([make(0), 3], *labelled)
    with pytest.raises(TypeError, match="a module with model and guide.*; got Linear"):
        to_arviz(nn.Linear(6, 3), *labelled)


def test_labels_are_coordinates_by_which_rows_are_grouped(classifier, labelled):
    result = to_arviz(classifier, *labelled, num_samples=3, labels={"digit": labelled[1]})
    alpha = result["posterior"]["z1_alpha"]
    by_class = alpha.groupby("digit").mean("obs_id")
    assert by_class.sizes["digit"] == 3
    by_hand = alpha.values[:, :, labelled[1].numpy() == 1].mean(2)
    np.testing.assert_allclose(by_class.sel(digit=1).transpose("chain", "draw", ...), by_hand)
    assert "digit" in result["observed_data"].coords


def test_labels_that_do_not_fit_are_refused(classifier, labelled):
    with pytest.raises(ValueError, match=r"labels\['digit'\]: shape \(4,\) for 11 rows in x"):
        to_arviz(classifier, *labelled, num_samples=3, labels={"digit": [1, 2, 3, 4]})
    with pytest.raises(ValueError, match="labels: 'z1' is a variable of the group 'posterior'"):
        to_arviz(classifier, *labelled, num_samples=3, labels={"z1": labelled[1]})
    with pytest.raises(ValueError, match="labels: 'draw' is a dimension"):
        to_arviz(classifier, *labelled, num_samples=3, labels={"draw": labelled[1]})
    with pytest.raises(ValueError, match="labels: the name 'a/b' has a slash"):
        to_arviz(classifier, *labelled, num_samples=3, labels={"a/b": labelled[1]})


@pytest.mark.parametrize("missing", [None, float("nan"), np.datetime64("NaT", "ns")])
def test_a_label_that_a_file_would_hold_as_an_empty_string_is_refused(classifier, labelled, missing):
    names = np.array(["a", missing, *"bcdefghij"], dtype=object)
    with pytest.raises(
        ValueError, match=r"labels\['kind'\]: label 1 of 11 is .*, which a file would hold as an"
    ):
        to_arviz(classifier, *labelled, num_samples=3, labels={"kind": names})
    with pytest.raises(ValueError, match=r"coords\['obs_id'\]: label 1 of 11 is "):
        to_arviz(classifier, *labelled, num_samples=3, coords={"obs_id": list(names)})
    numbers = to_arviz(classifier, *labelled, num_samples=3, labels={"size": [np.nan, *range(10)]})
    assert np.isnan(numbers["posterior"]["size"].values[0])


def proper(inputs, outputs):
    return InformationDropout.linear(inputs, outputs, activation="softplus", prior="log-normal")


def test_a_site_without_a_proper_prior_is_left_out_alone(labelled):
    program = Bottleneck(
        nn.Sequential(InformationDropout.linear(6, 5), proper(5, 4)), nn.Linear(4, 3)
    ).double()
    with pytest.warns(
        UserWarning, match="site 'z1': no proper prior .* left out of the group 'prior'"
    ) as said:
        result = to_arviz(program, *labelled, num_samples=200, seed=0)
    assert [warning.filename for warning in said] == [__file__]
    assert set(result["prior"].data_vars) == {"z2"}
    log_z = np.log(result["prior"]["z2"])
    assert abs(float(log_z.mean())) < 0.05
    assert abs(float(log_z.std()) - 1) < 0.05
    # y is computed of z2 alone, whose prior is proper.
    assert result["prior_predictive"]["y"].shape == (1, 200, 11)
    assert set(result["posterior"].data_vars) >= {"z1", "z2"}


def test_what_depends_on_such_a_site_is_left_out_too(labelled, group_names):
    program = Bottleneck(
        nn.Sequential(proper(6, 5), InformationDropout.linear(5, 4)), nn.Linear(4, 3)
    ).double()
    with pytest.warns(UserWarning, match="site 'z2': .* with it 'y' of the group 'prior_predictive'"):
        result = to_arviz(program, *labelled, num_samples=3)
    assert set(result["prior"].data_vars) == {"z1"}
    assert "prior_predictive" not in group_names(result)
    with (
        pytest.raises(ValueError, match="'prior_predictive' needs .*proper priors"),
        pytest.warns(UserWarning, match="no proper prior"),
    ):
        to_arviz(program, *labelled, num_samples=3, groups=["prior_predictive"])


def test_a_prior_given_an_improper_site_is_left_out_with_it():
    import pyro
    from pyro import distributions as dist

    from ib_pyro.distributions import ZeroInflatedLogUniform

    def model(x):
        with pyro.plate("rows", len(x)):
            a = pyro.sample("a", ZeroInflatedLogUniform(torch.tensor(1.0)))
            pyro.sample("b", dist.Normal(a, 1.0))
            pyro.sample("c", dist.Normal(torch.zeros(()), 1.0))

    def guide(x):
        with pyro.plate("rows", len(x)):
            for name in "abc":
                pyro.sample(name, dist.LogNormal(x, 1.0) if name == "a" else dist.Normal(x, 1.0))

    with pytest.warns(
        UserWarning, match="site 'a': .* with it 'b' of the group 'prior', which depends on it"
    ):
        result = to_arviz((model, guide), torch.randn(5), num_samples=3)
    assert set(result["prior"].data_vars) == {"c"}


def test_looking_for_improper_priors_leaves_the_draws_of_a_seed_as_they_were(
    classifier, labelled, group_names
):
    # Both of its priors are improper: what it exports is what it does when no prior is asked for.
    groups = ["posterior", "sample_stats"]
    torch.manual_seed(3)
    one = to_arviz(classifier, *labelled, num_samples=1, batch_size=11)
    state = torch.random.get_rng_state()
    torch.manual_seed(3)
    to_arviz(classifier, *labelled, num_samples=1, batch_size=11)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert set(groups) <= group_names(one)


def test_a_gaussian_layer_keeps_its_prior(labelled):
    program = Bottleneck(AdditiveNormal(nn.Linear(6, 2), nn.Linear(6, 2)), nn.Linear(2, 3)).double()
    result = to_arviz([program, program], *labelled, num_samples=3)
    assert isinstance(result["prior"]["z1"], xr.DataArray)
    assert result["prior"]["z1"].sizes["chain"] == 2
