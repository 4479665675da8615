"""A recording compiled by Inductor has the numbers, and leaves behind what, the program does; without a compiler it is
refused."""

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn
from torch.distributions import Distribution

from ib_pyro import Bottleneck
from ib_pyro.capture import CaptureError
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.nn import InformationDropout

# What Inductor's parts say of each other when they are imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def bottleneck() -> Bottleneck:
    return Bottleneck(InformationDropout.linear(6, 5, batch_norm=True), nn.Linear(5, 3))


def test_without_a_compiler_it_is_refused_and_nothing_has_moved() -> None:
    import torch._inductor.config as inductor

    program, x, y = bottleneck(), torch.rand(8, 6), torch.arange(8) % 3
    loss = InformationBottleneckELBO(0.1).capture(program.model, program.guide, compile=True)
    before = copy.deepcopy(program.state_dict())
    state, validates = torch.get_rng_state(), Distribution._validate_args
    with inductor.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}):
        with pytest.raises(CaptureError, match=r"needs a compiler for C\+\+.*CXX, or do without compile"):
            loss(x, y)
    assert torch.equal(torch.get_rng_state(), state)
    assert Distribution._validate_args == validates
    for name, value in program.state_dict().items():
        torch.testing.assert_close(value, before[name])


@pytest.mark.slow
def test_a_compiled_recording_has_the_numbers_of_the_program() -> None:
    program, twin, y = bottleneck(), bottleneck(), torch.arange(8) % 3
    twin.load_state_dict(program.state_dict())
    elbo, validates = InformationBottleneckELBO(0.1), Distribution._validate_args
    loss = elbo.capture(program.model, program.guide, compile=True)
    for seed in range(4):
        x = torch.rand(8, 6)
        elbo.beta = 0.1 if seed < 2 else 0.1 * seed
        torch.manual_seed(seed)
        value, drawn = loss(x, y), torch.rand(1)
        torch.manual_seed(seed)
        expected, expected_draw = elbo.differentiable_loss(twin.model, twin.guide, x, y), torch.rand(1)
        assert torch.equal(drawn, expected_draw)
        torch.testing.assert_close(value, expected)
        found = torch.autograd.grad(value, list(program.parameters()))
        for gradient, parameter in zip(found, program.parameters(), strict=True):
            assert gradient.stride() == parameter.stride()
        torch.testing.assert_close(found, torch.autograd.grad(expected, list(twin.parameters())))
        torch.testing.assert_close(list(program.buffers()), list(twin.buffers()))
    assert Distribution._validate_args == validates


def test_a_copy_is_compiled_too() -> None:
    program = bottleneck()
    loss = InformationBottleneckELBO().capture(program.model, program.guide, compile=True)
    assert loss.__reduce__()[1][-1] is True


def test_a_compiler_that_gives_other_numbers_is_blamed_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from ib_pyro.capture import captured_gradient

    def inexact(graph: Callable[..., Sequence[torch.Tensor]], _: object) -> Callable[..., list[torch.Tensor]]:
        return lambda *given: [value * 1.001 for value in graph(*given)]

    monkeypatch.setattr(captured_gradient, "compiled", inexact)
    program = bottleneck()
    loss = InformationBottleneckELBO(0.1).capture(program.model, program.guide, compile=True)
    with pytest.raises(
        CaptureError, match="cannot be compiled: its recording is right, .* leave compile out, or"
    ):
        loss(torch.rand(8, 6), torch.arange(8) % 3)
