"""Programs of several inputs: a tuple is several arguments, a dict is one, and all are cut by rows together."""

from collections import UserDict

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from ib_pyro import Bottleneck, to_arviz
from ib_pyro.data import LabelledImages
from ib_pyro.nn import InformationDropout

A, B, Y = torch.arange(7.0), torch.arange(14.0).reshape(7, 2), torch.arange(7.0) * 2
IMAGES = LabelledImages(torch.zeros(2, 1, 3, 3), torch.zeros(2, dtype=torch.int64), ("one",))


def model(a, b, y=None):
    with pyro.plate("rows", len(a)):
        z = pyro.sample("z", dist.Normal(a + b.sum(-1), 1.0))
        pyro.sample("y", dist.Normal(z, 1.0), obs=y)


def guide(a, b, y=None):
    with pyro.plate("rows", len(a)):
        pyro.sample("z", dist.Normal(a - b.sum(-1), 0.5))


def of_a_dict(program):
    return lambda x, y=None: program(x["a"], x["b"]["part"], y)


def of_a_dict_of_targets(program):
    return lambda a, b, y: program(a, b, y["y"])


CALLS = {
    "tuple": ((model, guide), (A, B), Y),
    "dict": ((of_a_dict(model), of_a_dict(guide)), {"a": A, "b": {"part": B}}, Y),
    "mapping": ((of_a_dict(model), of_a_dict(guide)), UserDict(a=A, b={"part": B}), Y),
    "tuple with a dict": (
        (lambda a, b, y: model(a, b["b"], y), lambda a, b, y: guide(a, b["b"], y)),
        (A, {"b": B}),
        Y,
    ),
    "dict of targets": ((of_a_dict_of_targets(model), of_a_dict_of_targets(guide)), (A, B), {"y": Y}),
    "all in x": ((model, guide), (A, B, Y), None),
}


@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize("call", CALLS)
def test_arguments_are_cut_by_rows_together(same_groups, call, batch_size):
    program, x, y = CALLS[call]
    result = to_arviz(program, x, y, num_samples=3, batch_size=batch_size, seed=0)
    # One tensor, of which the parts are columns, is the way that always worked.
    table = torch.cat([A[:, None], B], 1)
    whole = (lambda x, y: model(x[:, 0], x[:, 1:], y)), (lambda x, y: guide(x[:, 0], x[:, 1:], y))
    same_groups(result, to_arviz(whole, table, Y, num_samples=3, batch_size=batch_size, seed=0))
    np.testing.assert_array_equal(result["observed_data"]["y"], Y)
    np.testing.assert_allclose(result["posterior"]["z_loc"][0, 0], A - B.sum(-1))


def test_without_targets_y_is_predicted():
    result = to_arviz((model, guide), (A, B), num_samples=3)
    assert result["posterior_predictive"]["y"].sizes == {"chain": 1, "draw": 3, "obs_id": 7}


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        ((A, B[:5]), None, ValueError, r"x\[1\]: 5 rows for 7 in x\[0\]; pass one for each"),
        ({"a": A, "b": B[:5]}, None, ValueError, r"x\['b'\]: 5 rows for 7 in x\['a'\]"),
        ((A, B), Y[:5], ValueError, r"y: 5 rows for 7 in x\[0\]"),
        (A, {"y": Y[:5]}, ValueError, r"y\['y'\]: 5 rows for 7 in x"),
        (A, torch.tensor(1.0), ValueError, r"y: expected at least one row \[N, ...\]; got shape \(\)"),
        ((A, torch.tensor(1.0)), None, ValueError, r"x\[1\]: expected at least one row"),
        ((), None, ValueError, "x: expected at least one tensor"),
        ({}, Y, ValueError, "x: expected at least one tensor"),
        (
            (A, 3),
            None,
            TypeError,
            r"x\[1\]: expected a tensor .*; got int; what has no rows .*functools.partial",
        ),
        ((A, None), None, TypeError, r"x\[1\]: .*got NoneType"),
        ({"a": "text"}, None, TypeError, r"x\['a'\]: .*got str"),
        (A.numpy(), None, TypeError, "x: .*got ndarray; pass torch.as_tensor"),
        ([A, B], None, TypeError, "x: .*got list; pass torch.as_tensor.*or a tuple for several arguments"),
        (A, Y.numpy(), TypeError, "y: .*got ndarray"),
        (IMAGES, None, TypeError, "x: .*got LabelledImages; pass its x"),
        (DataLoader(A), None, TypeError, r"x: .*got DataLoader; pass its inputs at once, as in torch\.cat"),
        (A, (Y,), TypeError, "y: .*got tuple"),
    ],
)
def test_what_is_no_tensor_or_has_other_rows_is_named(x, y, error, message):
    with pytest.raises(error, match=message):
        to_arviz((model, guide), x, y, num_samples=2)


def test_a_packed_sequence_cannot_be_cut():
    packed = nn.utils.rnn.pack_padded_sequence(torch.rand(3, 4, 2), torch.tensor([4, 3, 1]), batch_first=True)
    with pytest.raises(
        TypeError, match="x: .*got PackedSequence, which cannot be cut by rows; pass the padded"
    ):
        to_arviz((model, guide), packed, num_samples=2)


def test_a_tuple_is_the_one_input_of_a_bottleneck():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.z = InformationDropout.linear(2, 3)

        def forward(self, a, b):
            return self.z(a + b)

    program = Bottleneck(Encoder(), nn.Linear(3, 2))
    result = to_arviz(program, (B, B), num_samples=2, batch_size=2)
    assert result["posterior"].sizes["obs_id"] == len(B)


@pytest.mark.parametrize("num_samples", [2.5, "3", True])
def test_numbers_of_draws_are_whole(num_samples):
    with pytest.raises(TypeError, match="num_samples must be a whole number"):
        to_arviz((model, guide), (A, B), num_samples=num_samples)


@pytest.mark.parametrize("option", ["num_samples", "batch_size", "seed"])
@pytest.mark.parametrize("number", [1.5, "1", True, torch.tensor(1.5), np.float64(1.0)])
def test_what_is_no_whole_number_is_refused_and_not_rounded(option, number):
    with pytest.raises(TypeError, match=f"{option} must be a whole number; got "):
        to_arviz((model, guide), (A, B), **{"num_samples": 2, option: number})


def test_a_seed_is_recorded_as_the_number_it_is_and_fits_64_bits():
    for seed in (np.int64(3), torch.tensor(3)):
        assert to_arviz((model, guide), (A, B), num_samples=2, seed=seed).attrs["seed"] == 3
    with pytest.raises(ValueError, match="seed=18446744073709551616 is no number of 64 bits"):
        to_arviz((model, guide), (A, B), num_samples=2, seed=2**64)


def test_a_head_that_was_not_given_is_named():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.digit, self.place = nn.Linear(3, 4), nn.Linear(3, 2)

        def forward(self, z):
            return {"digit": self.digit(z), "place": self.place(z)}

    likelihoods = {"digit": "categorical", "place": "normal"}
    program = Bottleneck(InformationDropout.linear(2, 3), Heads(), likelihoods)
    with pytest.raises(ValueError, match="place was not given, so it is sampled; pass place"):
        to_arviz(program, B, {"digit": torch.arange(7) % 4}, num_samples=2)


def test_numbers_of_numpy_will_do():
    result = to_arviz((model, guide), (A, B), num_samples=np.int64(2), batch_size=np.int32(2))
    assert result["posterior"].sizes["draw"] == 2


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(0.5))

    def model(self, a, b, y=None):
        return model(a + self.shift, b, y)

    def guide(self, a, b, y=None):
        return guide(a, b, y)


def test_a_module_with_model_and_guide_is_a_program(same_groups):
    program = Both()
    one, other = (
        to_arviz(each, (A, B), Y, num_samples=5, seed=3) for each in (program, (program.model, program.guide))
    )
    same_groups(one, other)
