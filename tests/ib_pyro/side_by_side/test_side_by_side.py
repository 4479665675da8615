"""Runs side by side have the numbers that each has alone: parameters, statistics, means, noise and order."""

from functools import partial

import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck
from ib_pyro.nn import AdditiveNormal, BinaryDropout, ConstantDropout, GaussianDropout, InformationDropout
from ib_pyro.side_by_side import Run, train_side_by_side

RUNS = [Run(beta=b, seed=s) for b, s in ((0.0, 0), (0.1, 0), (0.5, 3))]
KINDS = {
    "information": partial(InformationDropout.linear, batch_norm=True),
    "softplus": partial(InformationDropout.linear, batch_norm=True, activation="softplus", prior="log-normal"),
    "binary": partial(BinaryDropout.linear, batch_norm=True),
    "gaussian": partial(GaussianDropout.linear, batch_norm=True),
    "constant": partial(ConstantDropout.linear, batch_norm=True),
    "additive": AdditiveNormal.linear,
}


@pytest.mark.parametrize("replay", ["off", "on"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_run_is_what_it_is_alone(kind, replay, data, same):
    def make_program():
        layers = nn.Sequential(KINDS[kind](6, 5), KINDS[kind](5, 4))
        return Bottleneck(layers, nn.Linear(4, 3)).double()

    found = train_side_by_side(make_program, data, RUNS, epochs=3, batch_size=8, replay=replay)
    assert not found.diverged
    assert (found.not_replayed is None) == (replay == "on")
    same(found, make_program, data)
