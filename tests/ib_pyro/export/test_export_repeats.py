"""Which variables are held once for all draws: those that nothing random goes into, and those alone."""

from collections import OrderedDict

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck, noise_off, to_arviz
from ib_pyro.nn import AdditiveNormal, BinaryDropout, ConstantDropout, GaussianDropout, InformationDropout

X, Y = torch.linspace(-1, 1, 42).reshape(7, 6), torch.arange(7) % 3
LAYERS = {
    "information": (InformationDropout.linear, {"z1_activation", "z1_alpha", "z1_rate"}),
    "gaussian": (GaussianDropout.linear, {"z1_activation", "z1_alpha", "z1_rate", "z2_alpha"}),
    "constant": (ConstantDropout.linear, {"z1_activation", "z1_alpha", "z1_rate", "z2_alpha"}),
    "binary": (
        BinaryDropout.linear,
        {"z1_activation", "z1_drop_prob", "z1_rate", "z2_drop_prob", "z2_rate"},
    ),
    "additive": (
        lambda a, b: AdditiveNormal(nn.Linear(a, b), nn.Linear(a, b)),
        {"z1_loc", "z1_scale", "z1_rate"},
    ),
}


def two_layers(make=InformationDropout.linear, *before):
    layers = OrderedDict(before=nn.Sequential(*before), z1=make(6, 5), z2=make(5, 4))
    return Bottleneck(nn.Sequential(layers), nn.Linear(4, 3))


def held_once(result):
    """Variables of posterior and statistics that are views of one draw."""
    variables = [v for group in ("posterior", "sample_stats") for v in result[group].data_vars.values()]
    return {v.name for v in variables if v.values.strides[1] == 0}


@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize("layer", LAYERS)
def test_the_first_layers_law_is_held_once_and_what_follows_its_draw_is_not(layer, batch_size):
    make, expected = LAYERS[layer]
    result = to_arviz(two_layers(make), X, Y, num_samples=5, batch_size=batch_size)
    assert held_once(result) == expected


@pytest.mark.parametrize("name", ["a.zarr", "a.nc"])
def test_a_file_holds_every_draw_of_them(name, same_groups, tmp_path):
    program = two_layers()
    streamed = to_arviz(program, X, Y, num_samples=5, seed=0, path=tmp_path / name)
    same_groups(streamed, to_arviz(program, X, Y, num_samples=5, seed=0))
    assert streamed["posterior"]["z1_alpha"].shape == (1, 5, 7, 5)


def test_without_noise_all_is_held_once():
    with noise_off():
        result = to_arviz(two_layers(), X, Y, num_samples=3, groups=["posterior", "sample_stats"])
    assert held_once(result) == {*result["posterior"].data_vars, *result["sample_stats"].data_vars}


def test_a_point_estimate_is_held_once():
    def model(x):
        w = pyro.sample("w", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", len(x)):
            pyro.deterministic("mean", w * x)
            pyro.sample("y", dist.Normal(w * x, 1.0), obs=x)

    def guide(x):
        pyro.sample("w", dist.Delta(torch.tensor(0.3)))

    assert held_once(to_arviz((model, guide), X[:, 0], num_samples=3)) >= {"w", "mean", "distortion"}


@pytest.mark.parametrize(("training", "expected"), [(True, set()), (False, LAYERS["information"][1])])
def test_units_that_a_network_drops_by_itself_count_as_random(training, expected):
    # They are so seldom dropped that no two draws differ.
    program = two_layers(InformationDropout.linear, nn.Dropout(1e-9))
    assert held_once(to_arviz(program.train(training), X, Y, num_samples=3)) == expected


class Attention(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, dropout=dropout, batch_first=True)

    def forward(self, x):
        return self.attention(x[:, None], x[:, None], x[:, None])[0][:, 0]


@pytest.mark.parametrize(("dropout", "expected"), [(0.0, LAYERS["information"][1]), (0.5, set())])
def test_attention_is_random_only_if_it_drops(dropout, expected):
    program = two_layers(InformationDropout.linear, Attention(dropout))
    assert held_once(to_arviz(program, X, Y, num_samples=3)) == expected


class FromNumPy(nn.Module):
    def forward(self, x):
        return x + float(np.random.default_rng().normal())


@pytest.mark.parametrize("batch_size", [None, 3])
def test_draws_that_another_library_makes_are_all_kept(batch_size):
    program = two_layers(InformationDropout.linear, FromNumPy())
    alpha = to_arviz(program, X, Y, num_samples=4, batch_size=batch_size)["posterior"]["z1_alpha"].values[0]
    assert alpha.strides[0] > 0
    for rows in (slice(0, 3), slice(3, 6), slice(6, 7)):
        assert all((alpha[0, rows] != alpha[draw, rows]).any() for draw in range(1, 4))


def test_rows_that_take_another_branch_than_the_first_keep_all_their_draws():
    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.deterministic("side", z if x.max() > 0 else x)
            pyro.sample("y", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x, 0.1))

    x = X[:, 0]
    posterior = to_arviz((model, guide), x, num_samples=4, batch_size=2)["posterior"]
    taken = torch.cat([part.max().expand(len(part)) for part in x.split(2)]).numpy() > 0
    assert 0 < taken.sum() < len(x)
    expected = np.where(taken, posterior["z"].values, x.numpy())
    np.testing.assert_array_equal(posterior["side"].values, expected)


def test_what_follows_a_number_read_off_a_draw_is_kept():
    def program(x, obs):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(x, 1.0))
            scale = 1.0 if float(z.detach().sum()) > -1e9 else 2.0
            pyro.sample("v", dist.Normal(x, scale))
            if obs:
                pyro.sample("y", dist.Normal(z, 1.0), obs=x)

    result = to_arviz((lambda x: program(x, True), lambda x: program(x, False)), X[:, 0], num_samples=3)
    assert not {"v_loc", "v_scale", "v_rate"} & held_once(result)
