"""A step leaves nothing behind that waits for the garbage collector: its tensors go when it ends."""

import gc
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ib_pyro import Bottleneck
from ib_pyro.elbo import Capacity, InformationBottleneckELBO
from ib_pyro.nn import AdditiveNormal, GaussianDropout, InformationDropout

OBJECTIVES = {
    "plain": InformationBottleneckELBO(0.1),
    "total correlation": InformationBottleneckELBO(0.1, 0.1),
    "at the draw": InformationBottleneckELBO(0.1, on_no_closed_form="monte-carlo", sampled_rates=["z1"]),
    "capacity": InformationBottleneckELBO(0.1, penalty=Capacity(2.0)),
    "particles": InformationBottleneckELBO(0.1, num_particles=2),
    "particles at once": InformationBottleneckELBO(
        0.1, num_particles=2, vectorize_particles=True, max_plate_nesting=1
    ),
}


def tensors_in_cycles(step: Callable[[], object]) -> list[Tensor]:
    """Return the tensors that a step leaves to the garbage collector; the first steps, which find out things, may."""
    for _ in range(2):
        step()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        step()
        gc.collect()
        return [found for found in gc.garbage if isinstance(found, Tensor)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def bottleneck(layer: type) -> Bottleneck:
    return Bottleneck(nn.Sequential(layer.linear(6, 5), layer.linear(5, 4)), nn.Linear(4, 3))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_step_keeps_no_tensor_in_a_cycle(objective: str) -> None:
    program, elbo = bottleneck(InformationDropout), OBJECTIVES[objective]
    x, y = torch.rand(8, 6), torch.randint(3, (8,))
    assert not tensors_in_cycles(
        lambda: elbo.differentiable_loss(program.model, program.guide, x, y).backward()
    )
    assert not tensors_in_cycles(lambda: elbo.terms(program.model, program.guide, x, y).loss.backward())


@pytest.mark.parametrize("layer", [GaussianDropout, AdditiveNormal], ids=lambda layer: layer.__name__)
def test_other_layers_keep_none_either(layer: type) -> None:
    program = bottleneck(layer)
    x, y = torch.rand(8, 6), torch.randint(3, (8,))
    elbo = InformationBottleneckELBO(0.1)
    assert not tensors_in_cycles(
        lambda: elbo.differentiable_loss(program.model, program.guide, x, y).backward()
    )
    assert not tensors_in_cycles(lambda: program.predict(x))


def test_a_cycle_would_be_found() -> None:
    def step() -> None:
        cycle: list[object] = [torch.zeros(3)]
        cycle.append(cycle)

    assert len(tensors_in_cycles(step)) == 1
