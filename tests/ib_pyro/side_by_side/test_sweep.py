"""A sweep is a tidy table of runs that are the same whichever way they were trained."""

import math
from functools import partial

import pandas as pd
import pytest
import torch
from torch import nn

import ib_pyro
from ib_pyro import Bottleneck
from ib_pyro.elbo.schedules import linear_warm_up
from ib_pyro.nn import AdditiveNormal, BinaryDropout, ConstantDropout, GaussianDropout, InformationDropout
from ib_pyro.side_by_side import VectorizationError, curve

sweep = partial(ib_pyro.sweep, betas=(0.0, 0.1), seeds=(0, 3), epochs=2, batch_size=8)


class Looks(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def one_that_looks():
    layers = nn.Sequential(Looks(), InformationDropout.linear(6, 5, batch_norm=True))
    return Bottleneck(layers, nn.Linear(5, 3)).double()


def autoencoder():
    encoder = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), AdditiveNormal.linear(5, 2))
    return Bottleneck(encoder, nn.Linear(2, 6), likelihood="bernoulli").double()


PROGRAMS = {
    "information": InformationDropout,
    "binary": BinaryDropout,
    "gaussian": GaussianDropout,
    "constant": ConstantDropout,
}
HOW = {
    "plain": {"lr": 0.05},
    "adam": {"optimizer": "adam", "lr": 0.02, "weight_decay": 0.01},
    "schedules": {
        "beta_schedule": lambda epoch: linear_warm_up(epoch, target=1.0, warm_up=1),
        "lr_schedule": lambda epoch: 0.1**epoch,
        "clip_norm": 0.5,
    },
}


def same_frames(one, other, tolerance=1e-9):
    numbers = [name for name in one if one[name].dtype.kind == "f"]
    pd.testing.assert_frame_equal(one[numbers], other[numbers], rtol=tolerance, atol=tolerance)
    assert list(one) == list(other)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", PROGRAMS)
def test_runs_at_once_are_those_one_by_one(kind, how, data, make):
    make_program = partial(make, PROGRAMS[kind])
    options = {**HOW[how], "validation": (data[0][:11], data[1][:11]), "test": data}
    together = sweep(make_program, data, vectorize=True, **options)
    alone = sweep(make_program, data, vectorize=False, **options)
    same_frames(together, alone)
    assert together["vectorized"].all()
    assert not alone["vectorized"].any()
    assert together.attrs["one_by_one"] is None
    assert together["test_error"].between(0, 1).all()


def test_an_autoencoder_that_is_binarised_anew(data):
    def binarised(x, _y):
        drawn = torch.bernoulli(x)
        return drawn, drawn

    x = torch.rand(28, 6, dtype=torch.float64)
    held_out = torch.bernoulli(x)
    options = {"transform": binarised, "optimizer": "adam", "test": (held_out, held_out)}
    frames = [sweep(autoencoder, (x, x), vectorize=v, **options) for v in (True, False)]
    same_frames(*frames)
    assert "error" not in frames[0]


def test_programs_that_look_at_values_are_trained_one_by_one_and_it_says_why(data):
    frame = sweep(one_that_looks, data, validation=data)
    assert not frame["vectorized"].any()
    assert "looks at a value of a tensor" in frame.attrs["one_by_one"]
    same_frames(frame, sweep(one_that_looks, data, validation=data, vectorize=False))
    with pytest.raises(VectorizationError, match="looks at a value"):
        sweep(one_that_looks, data, vectorize=True)
    with pytest.raises(ValueError, match=r"order='shared' is for runs at once.*looks at a value"):
        sweep(one_that_looks, data, order="shared")
    # Nothing would be kept, and nothing called.
    with pytest.raises(ValueError, match=r"checkpoint='runs\.pt' is for runs at once.*looks at a value"):
        sweep(one_that_looks, data, checkpoint="runs.pt")
    with pytest.raises(
        ValueError, match=r"on_epoch=.* is for runs at once.*vectorize=False.*leave on_epoch out"
    ):
        sweep(one_that_looks, data, on_epoch=print, vectorize=False)


@pytest.mark.parametrize("vectorize", [True, False])
def test_a_run_that_diverges_is_marked_and_has_no_numbers(vectorize, data):
    def make():
        layer = InformationDropout.linear(6, 5, activation="softplus", prior="log-normal")
        return Bottleneck(layer, nn.Linear(5, 3)).double()

    with pytest.warns(UserWarning, match=r"run beta=1e\+300, seed=0: epoch 1"):
        frame = sweep(make, data, betas=(0.1, 1e300), seeds=(0,), vectorize=vectorize, validation=data)
    assert frame["diverged"].tolist() == [False, True]
    assert frame["distortion"].notna().tolist() == [True, False]
    assert frame["beta"].notna().all()
    [first, second] = curve(frame).to_dict("records")
    assert (first["seeds"], second["seeds"], second["diverged"]) == (1, 0, 1)
    assert math.isnan(second["rate"])


def test_ambient_generators_stay(data, make):
    torch.manual_seed(2)
    before = torch.get_rng_state()
    for vectorize in (True, False):
        sweep(make, data, vectorize=vectorize, validation=data)
    assert torch.equal(before, torch.get_rng_state())


def test_what_a_sweep_refuses(data, make):
    with pytest.raises(ValueError, match="betas or seeds is empty"):
        sweep(make, data, seeds=())
    with pytest.raises(ValueError, match=r"beta=0.1, seed=0 is there twice"):
        sweep(make, data, betas=(0.1, 0.1))
    with pytest.raises(ValueError, match="vectorize= 'always' is unknown|vectorize='always' is unknown"):
        sweep(make, data, vectorize="always")
    with pytest.raises(ValueError, match="leaves a batch of a single sample out of 28"):
        sweep(make, data, batch_size=9)


def test_weights_of_single_sites_have_columns_of_their_own(data):
    def make_program():
        layers = nn.Sequential(*(InformationDropout.linear(*sizes) for sizes in ((6, 4), (4, 3))))
        return Bottleneck(layers, nn.Linear(3, 3)).double()

    frame = sweep(make_program, data, betas=({"z1": 0.1, "z2": 0.0}, {"z1": 0.0, "z2": 0.3}), seeds=(0,))
    assert frame[["beta/z1", "beta/z2"]].to_numpy().tolist() == [[0.1, 0.0], [0.0, 0.3]]
