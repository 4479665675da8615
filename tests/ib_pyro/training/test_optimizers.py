"""Optimisers by name: how far momentum carries, and what weight decay is added to."""

from functools import partial

import numpy as np
import pyro.optim
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    ExponentialLR,
    LinearLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from ib_pyro import Bottleneck, fit
from ib_pyro.nn import InformationDropout
from ib_pyro.side_by_side import Run, train_side_by_side
from ib_pyro.training.optimizers import build_optimizer, optimizer_for, scheduler_for


def parameter(*values):
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def displacements(optimizer, w, steps):
    """How far each step goes down a slope of 1."""
    found = []
    for _ in range(steps):
        before = w.detach().clone()
        optimizer.zero_grad()
        w.sum().backward()
        optimizer.step()
        found.append((before - w.detach()).item())
    return found


def test_momentum_is_that_of_nine_tenths_unless_told():
    """On an even slope a step grows to the learning rate over one minus the momentum."""
    w = parameter(0.0)
    steps = displacements(build_optimizer("sgd", [w], lr=0.01), w, 200)
    assert steps[0] == pytest.approx(0.01)
    assert steps[-1] == pytest.approx(0.01 / (1 - 0.9))
    w = parameter(0.0)
    halved = displacements(build_optimizer("sgd", [w], lr=0.01, momentum=0.5), w, 100)
    assert halved[-1] == pytest.approx(0.01 / (1 - 0.5))


def test_nesterovs_step_looks_ahead_from_the_first():
    w = parameter(0.0)
    steps = displacements(build_optimizer("sgd", [w], lr=0.01, nesterov=True), w, 200)
    assert steps[0] == pytest.approx(0.01 * (1 + 0.9))
    assert steps[-1] == pytest.approx(0.01 / (1 - 0.9))


@pytest.mark.parametrize(
    ("name", "options"),
    [("sgd", {}), ("sgd", {"nesterov": True}), ("adam", {})],
    ids=["sgd", "nesterov", "adam"],
)
def test_weight_decay_is_half_the_squared_norm_added_to_the_loss(name, options):
    """Not Adam's decoupled form, which has no such loss."""
    decay = 0.3
    start = (1.0, -2.0, 0.5)
    decayed, penalised = parameter(*start), parameter(*start)
    by_option = build_optimizer(name, [decayed], lr=0.05, weight_decay=decay, **options)
    by_loss = build_optimizer(name, [penalised], lr=0.05, **options)
    for _ in range(20):
        by_option.zero_grad()
        by_loss.zero_grad()
        (decayed - 1).square().sum().backward()
        ((penalised - 1).square().sum() + decay / 2 * penalised.square().sum()).backward()
        by_option.step()
        by_loss.step()
    torch.testing.assert_close(decayed, penalised)
    assert not torch.allclose(decayed, parameter(*start), atol=0.1)


def test_a_program_that_cannot_learn_is_told_why():
    with pytest.raises(ValueError, match="a ReLU has no parameter to fit$"):
        optimizer_for(nn.ReLU(), "adam")
    with pytest.raises(ValueError, match="no parameter to fit: requires_grad is False of all 2; set it"):
        optimizer_for(nn.Linear(2, 3).requires_grad_(False), "adam")


@pytest.mark.parametrize(
    ("schedule", "error", "message"),
    [
        ("cosine", TypeError, "a str is no schedule of a learning rate; pass a function of the optimizer"),
        (lambda _: None, TypeError, "a NoneType is no schedule"),
        (StepLR(torch.optim.Adam([parameter(0.0)]), 1), ValueError, "the StepLR moves another optimizer"),
        (ReduceLROnPlateau, ValueError, "a ReduceLROnPlateau waits for a number.*in a loop of your own"),
    ],
)
def test_what_is_no_schedule_of_the_optimizer_is_refused(schedule, error, message):
    with pytest.raises(error, match=message):
        scheduler_for(schedule, torch.optim.Adam([parameter(0.0)]))


def test_a_schedule_or_what_makes_it_is_taken():
    optimizer = torch.optim.Adam([parameter(0.0)])
    made = StepLR(optimizer, 1)
    assert scheduler_for(made, optimizer) is made
    assert scheduler_for(partial(StepLR, step_size=2), optimizer).step_size == 2
    assert scheduler_for(None, optimizer) is None


def test_what_makes_no_optimizer_is_refused():
    with pytest.raises(
        TypeError, match=r"a PyroOptim makes a NoneType of the parameters.*go with SVI.*partial"
    ):
        optimizer_for(nn.Linear(2, 3), pyro.optim.Adam({"lr": 0.01}))


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="optimizer 'sdg' is unknown"):
        build_optimizer("sdg", [parameter(0.0)], lr=0.1)


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_parameter_whose_first_gradient_comes_late_moves_as_ever(nesterov):
    def trained(build):
        parameters = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
        optimizer = build(parameters)
        for step in range(3):
            for number, parameter in enumerate(parameters):
                parameter.grad = None if number > step else torch.full((2,), 1.0 + step)
            optimizer.step()
        return torch.stack([parameter.detach() for parameter in parameters])

    how = {"lr": 0.1, "nesterov": nesterov, "weight_decay": 0.1}
    plain = trained(lambda parameters: torch.optim.SGD(parameters, momentum=0.9, **how))
    torch.testing.assert_close(trained(lambda parameters: build_optimizer("sgd", parameters, **how)), plain)


@pytest.mark.parametrize("is_made", [True, False])
def test_an_optimizer_that_evaluates_the_loss_itself_is_refused(is_made: bool) -> None:
    program = Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
    make = partial(torch.optim.LBFGS, max_iter=2)
    with pytest.raises(ValueError, match=r"LBFGS takes a closure.*AdamW"):
        optimizer_for(program, make(program.parameters()) if is_made else make)
    data, run = (torch.rand(8, 4), torch.arange(8) % 2), Run(beta=0.1)
    with pytest.raises(ValueError, match=r"LBFGS takes a closure"):
        train_side_by_side(lambda: program, data, [run], epochs=1, optimizer=make)


def test_an_optimizer_with_a_schedule_already_is_taken() -> None:
    program = nn.Linear(2, 1)
    for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.Rprop):
        made = kind(program.parameters(), lr=0.1)
        StepLR(made, 1)
        assert optimizer_for(program, made) is made


@pytest.mark.parametrize(
    "make",
    [
        lambda o: SequentialLR(o, [LinearLR(o), ExponentialLR(o, 0.9)], [1]),
        lambda o: ChainedScheduler([ConstantLR(o), StepLR(o, 1)], optimizer=o),
    ],
    ids=["one after the other", "at once"],
)
def test_schedules_made_of_several(make, tmp_path):
    program = Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
    data = torch.rand(20, 4), torch.arange(20) % 2
    how = {"beta": 0.1, "lr": np.float64(0.01), "scheduler": make, "out": tmp_path, "progress": False}
    fit(program, data, epochs=1, **how)
    found = fit(program, data, epochs=2, resume=True, **how)
    assert len(found.history) == 2
