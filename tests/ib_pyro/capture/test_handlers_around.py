"""A recording does not see Pyro's handlers: a captured call within one is refused, or goes without."""

import pyro
import pytest
import torch
from pyro import poutine
from torch import nn

from ib_pyro import Bottleneck, InformationBottleneckELBO, fit, noise_off, sweep
from ib_pyro.capture import CaptureError
from ib_pyro.nn import InformationDropout
from ib_pyro.side_by_side import Run, VectorizationError, train_side_by_side

X, Y = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
HANDLERS = {
    "noise_off": noise_off,
    "ScaleMessenger": lambda: poutine.scale(scale=2.0),
    "MaskMessenger": lambda: poutine.mask(mask=torch.arange(6) < 3),
    "ConditionMessenger": lambda: pyro.condition(data={"z1": torch.ones(6, 5)}),
    "plate": lambda: pyro.plate("outer", 2, dim=-2),
}


def build():
    torch.manual_seed(0)
    return Bottleneck(InformationDropout.linear(4, 5), nn.Linear(5, 3))


@pytest.mark.parametrize("before", [True, False], ids=["recorded before", "not yet recorded"])
@pytest.mark.parametrize("name", HANDLERS)
def test_a_captured_loss_refuses_a_handler_around_its_call(name, before):
    program = build()
    captured = InformationBottleneckELBO(beta=0.1).capture(program.model, program.guide)
    if before:
        captured(X, Y)
    with HANDLERS[name](), pytest.raises(CaptureError, match=f"within {name}.*around model and guide"):
        captured(X, Y)
    losses = [captured(X, Y).item() for _ in range(2)]
    assert losses[0] != losses[1], "noise is drawn again outside"


def test_a_handler_around_model_and_guide_is_part_of_the_recording():
    program, elbo = build(), InformationBottleneckELBO(beta=0.1)
    sides = [poutine.scale(side, scale=2.0) for side in (program.model, program.guide)]
    captured = elbo.capture(*sides)
    for _ in range(2):
        torch.manual_seed(3)
        found = captured(X, Y).item()
        torch.manual_seed(3)
        assert found == pytest.approx(elbo.loss(*sides, X, Y))


def fitted(capture: str) -> Bottleneck:
    program = build()
    torch.manual_seed(1)
    with poutine.scale(scale=3.0):
        fit(program, (X, Y), beta=0.1, epochs=3, batch_size=3, capture=capture, progress=False)
    return program


def test_a_fit_goes_without_and_has_the_same_numbers(monkeypatch):
    monkeypatch.setattr("ib_pyro.training.loop.LEAST_STEPS", 1)
    states = [fitted(capture).state_dict() for capture in ("auto", "off")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    with pytest.raises(CaptureError, match="within ScaleMessenger"):
        fitted("on")


def test_runs_side_by_side_go_without_too():
    def run(**how):
        with poutine.scale(scale=3.0):
            return train_side_by_side(build, (X, Y), [Run(beta=0.1)], epochs=2, batch_size=3, **how)

    with pytest.raises(VectorizationError, match="within ScaleMessenger"):
        run(replay="on")
    assert run(replay="off").table.equals(run().table)


def test_a_sweep_under_a_handler_is_that_of_fits_alone():
    def run(vectorize):
        with poutine.scale(scale=3.0):
            return sweep(
                build, (X, Y), betas=[0.1, 0.2], seeds=[0], epochs=2, batch_size=3, vectorize=vectorize
            )

    torch.testing.assert_close(*(torch.tensor(run(v)["distortion"].to_numpy()) for v in (True, False)))
