"""What draws noise by definition says so where a handler around it takes the noise away."""

import warnings

import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck, evaluate, fit, noise_off, sweep
from ib_pyro.nn import InformationDropout
from ib_pyro.side_by_side import Run, evaluate_side_by_side, train_side_by_side

DATA = torch.rand(20, 4), torch.arange(20) % 2
HOW = {"epochs": 1, "batch_size": 10}


def build():
    return Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))


CALLS = {
    "fit": lambda: fit(build(), DATA, beta=0.1, progress=False, **HOW),
    "evaluate": lambda: evaluate(build(), DATA),
    "train_side_by_side": lambda: train_side_by_side(build, DATA, [Run(beta=0.1)], **HOW),
    "evaluate_side_by_side": lambda: evaluate_side_by_side([build()], DATA),
}


@pytest.mark.parametrize("name", CALLS)
def test_it_warns_where_it_was_called(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CALLS[name]()
    with noise_off(), pytest.warns(UserWarning, match=rf"^{name} is called within noise_off\(\)") as found:
        CALLS[name]()
    assert {each.filename for each in found if str(each.message).startswith(f"{name} ")} == {__file__}


@pytest.mark.parametrize("vectorize", [True, False])
def test_a_sweep_warns_however_it_trains(vectorize):
    with noise_off(), pytest.warns(UserWarning, match="within noise_off"):
        sweep(build, DATA, betas=[0.1, 0.2], seeds=[0], vectorize=vectorize, **HOW)
