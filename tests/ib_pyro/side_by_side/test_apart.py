"""Runs side by side do not touch each other, nor what is around them."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from ib_pyro import Bottleneck
from ib_pyro.checks import checks_values, is_traced
from ib_pyro.nn import InformationDropout
from ib_pyro.rates import log_uniform_log_c
from ib_pyro.side_by_side import Run, curve, train_side_by_side

train = partial(train_side_by_side, epochs=3, batch_size=8)


@pytest.mark.parametrize("replay", ["off", "on"])
def test_a_run_that_diverges_harms_no_other_and_is_named(replay, data, make, same_tensors):
    sound = [Run(beta=0.1, seed=s, lr=0.07) for s in (0, 1)]
    wild = Run(beta=0.1, seed=2, lr=1e200)
    with pytest.warns(UserWarning, match=r"run beta=0.1, seed=2, lr=1e\+200: epoch 1: not finite"):
        found = train(make, data, [sound[0], wild, sound[1]], replay=replay)
    without = train(make, data, sound, replay=replay)
    assert list(found.diverged) == [wild.name]
    assert found.diverged[wild.name].startswith("epoch 1: not finite (loss = ")
    assert found.table["diverged"].tolist() == [False, True, False]
    for name, program in without.programs.items():
        same_tensors(found.programs[name], program, 1e-9)
    [point] = found.curve().to_dict("records")
    assert (point["seeds"], point["diverged"]) == (2, 1)
    assert point["distortion"] == pytest.approx(without.table["distortion"].mean())


def test_the_ambient_generator_stays_where_it_was(data, make):
    torch.manual_seed(11)
    before = torch.get_rng_state()
    train(make, data, [Run(beta=0.1), Run(beta=0.2)], replay="on", validation=data)
    assert torch.equal(torch.get_rng_state(), before)


def test_programs_have_memory_of_their_own_and_no_gradients_left(data, make):
    programs = list(train(make, data, [Run(beta=0.1), Run(beta=0.2)]).programs.values())
    tensors = [t for program in programs for t in (*program.parameters(), *program.buffers())]
    assert len({t.untyped_storage().data_ptr() for t in tensors}) == len(tensors)
    assert all(t.untyped_storage().nbytes() == t.nbytes for t in tensors)
    assert all(p.grad is None and p.requires_grad and p.is_leaf for q in programs for p in q.parameters())
    assert not any(module.training for program in programs for module in program.modules())


def test_programs_are_their_own_again_after_a_refusal(data, make):
    made = []

    def make_program():
        made.append(make())
        return made[-1]

    with pytest.raises(ValueError, match="labels reach"):
        train(make_program, (data[0], data[1] + 5), [Run(beta=0.1), Run(beta=0.2)])
    tensors = [t for program in made for t in program.parameters()]
    assert len({t.untyped_storage().data_ptr() for t in tensors}) == len(tensors)


def test_parameters_keep_their_layout():
    def make_program():
        encoder = InformationDropout.conv2d(2, 4, 3, padding=1)
        decoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
        return Bottleneck(encoder, decoder).to(memory_format=torch.channels_last)

    data = torch.rand(16, 2, 4, 4), torch.arange(16) % 3
    found = train(make_program, data, [Run(beta=0.1), Run(beta=0.2)])
    for program in found.programs.values():
        assert program.encoder.features.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_curve_has_means_and_intervals_over_seeds():
    rows = [{"beta": b, "seed": s, "rate": b + s, "name": "x"} for b in (2.0, 1.0) for s in (0, 1, 2)]
    first, second = curve(rows, confidence=0.9).to_dict("records")
    assert (first["beta"], second["beta"]) == (1.0, 2.0)
    # The 95 % quantile of Student's t with two degrees of freedom.
    half = 2.919986 * 1 / math.sqrt(3)
    assert (first["rate"], first["rate_low"]) == pytest.approx((2.0, 2.0 - half), rel=1e-6)
    assert "name" not in first
    assert math.isnan(curve(rows[:1])["rate_low"][0])
    with pytest.raises(ValueError, match="by='betta' is unknown; did you mean 'beta'"):
        curve(rows, "betta")
    with pytest.raises(ValueError, match="confidence is a level"):
        curve(rows, confidence=95)


def test_results_are_about_the_held_out_set(data, make):
    found = train(make, data, [Run(beta=0.1), Run(beta=0.2)], validation=(data[0][:10], data[1][:10]))
    assert list(found.table)[:6] == ["beta", "seed", "diverged", "distortion", "rate", "error"]
    assert found.table["error"][0] * 10 == pytest.approx(round(found.table["error"][0] * 10))


def test_values_are_not_checked_under_a_transform():
    seen = []

    def look(x):
        seen.append((checks_values(), is_traced()))
        return x

    look(torch.ones(2))
    torch.func.vmap(look)(torch.ones(2))
    assert seen == [(True, False), (False, True)]


def test_the_constant_of_a_prior_is_the_same_of_numbers_and_of_tensors():
    assert float(log_uniform_log_c(torch.tensor(0.3, dtype=torch.float64))) == log_uniform_log_c(0.3)
