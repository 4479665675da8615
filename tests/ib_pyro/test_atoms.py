"""The choice between on and off is `torch.where`: values, gradients and types, under every transform of PyTorch."""

import math
import warnings

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.fx.experimental.proxy_tensor import make_fx

from ib_pyro.atoms import on_or_off

INF, NAN = math.inf, math.nan
LEVELS = [0.0, -0.0, NAN, 1e-7, INF, 2.0, 0.0, 0.0, -3.0, 0.0]
VALUES = [INF, NAN, 1.0, 2.0, 3.0, NAN, -INF, 5.0, 6.0, -7.0]
OFFS = [0.0, 1.5, INF, -INF, "tensor"]


def by_where(level: Tensor, on: Tensor, off: Tensor | float = 0.0, *, is_log: bool = False) -> Tensor:
    return torch.where(level == (-INF if is_log else 0.0), off, on)


def long(values: list[float], dtype: torch.dtype = torch.float64) -> Tensor:
    """Longer than a vector of any CPU, with a rest that does not fill one."""
    return torch.tensor(values * 9, dtype=dtype)


def levels(*, is_log: bool, dtype: torch.dtype = torch.float64) -> Tensor:
    level = long(LEVELS, dtype)
    return (
        torch.where(level == 0, -INF, torch.where(level == -3, torch.finfo(dtype).min, level))
        if is_log
        else level
    )


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize("off", OFFS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_values(dtype, off, is_log):
    level, on = levels(is_log=is_log, dtype=dtype), long(VALUES, dtype)
    off = long([*range(1, 10), INF], dtype) if off == "tensor" else off
    chosen = on_or_off(level, on, off, is_log=is_log)
    torch.testing.assert_close(
        chosen, by_where(level, on, off, is_log=is_log), rtol=0, atol=0, equal_nan=True
    )


@pytest.mark.parametrize("off", [0.0, 2.0])
def test_it_has_the_type_that_all_promote_to_and_the_shape_that_all_broadcast_to(off):
    half, single = torch.ones(3, 1, dtype=torch.bfloat16), torch.ones(4)
    assert on_or_off(half, single, off).dtype == on_or_off(single, half, off).dtype == torch.float32
    assert on_or_off(half, single, off).shape == on_or_off(single, half, off).shape == (3, 4)
    wide = torch.full((2, 1, 1), off, dtype=torch.float64)
    assert on_or_off(half, single, wide).dtype == torch.float64
    assert on_or_off(half, single, wide).shape == (2, 3, 4)


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize("off", ["none", "scalar", "row"])
def test_gradients(off, is_log):
    level = levels(is_log=is_log)[:20].reshape(2, 10).requires_grad_()
    on = torch.randn(2, 10, dtype=torch.float64, requires_grad=True)
    size = {"none": (0,), "scalar": (), "row": (10,)}[off]
    offs = [] if off == "none" else [torch.randn(size, dtype=torch.float64, requires_grad=True)]
    weights = torch.randn(2, 10, dtype=torch.float64)

    def gradients(choose):
        loss = (choose(level, on, *offs, is_log=is_log) * weights).sum()
        return torch.autograd.grad(loss, [on, *offs])

    torch.testing.assert_close(gradients(on_or_off), gradients(by_where), rtol=1e-14, atol=0)
    fixed = level.detach()
    inputs = (on, *offs)
    assert gradcheck(lambda *args: on_or_off(fixed, *args, is_log=is_log), inputs)
    assert gradgradcheck(lambda *args: on_or_off(fixed, *args, is_log=is_log).exp(), inputs)
    assert torch.autograd.grad(on_or_off(level, on).sum(), level, allow_unused=True) == (None,)


def test_gradients_of_what_is_broadcast():
    level, on = torch.tensor([[0.0, 1.0], [2.0, 3.0]]), torch.tensor([1.0, 2.0], requires_grad=True)
    gradient = torch.func.grad(lambda on: on_or_off(level, on).sum())(on)
    assert gradient.tolist() == torch.autograd.grad(on_or_off(level, on).sum(), on)[0].tolist() == [1.0, 2.0]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
def test_forward_derivatives():
    level, tangents = torch.tensor([0.0, 1.0, 2.0]), (torch.tensor([1.0, 2.0, 3.0]), torch.tensor(-1.0))
    _, moved = torch.func.jvp(
        lambda on, off: on_or_off(level, on, off), (torch.ones(3), torch.zeros(())), tangents
    )
    assert moved.tolist() == [-1.0, 2.0, 3.0]


@pytest.mark.parametrize("off", [0.0, INF])
def test_no_gradient_reaches_what_is_not_chosen(off):
    alpha = torch.tensor([0.0, 0.5], requires_grad=True)
    rate = on_or_off(torch.tensor([0.0, 1.0]), alpha, off)
    assert torch.autograd.grad(rate.sum(), alpha)[0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    "in_dims", [(0, 0, 0), (0, None, None), (None, 0, None), (1, 0, None), (None, None, 0)]
)
def test_under_vmap(in_dims):
    level = torch.randn(3, 3, dtype=torch.float64).relu()
    on, off = torch.randn(3, 3, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)
    args = level, on, off
    together = torch.func.vmap(on_or_off, in_dims)(*args)
    one_by_one = [
        on_or_off(*[a if d is None else a.select(d, i) for a, d in zip(args, in_dims, strict=True)])
        for i in range(3)
    ]
    assert torch.equal(together, torch.stack(one_by_one))


def sampled_rate(level: Tensor, alpha: Tensor, off: Tensor) -> tuple[Tensor, Tensor]:
    return on_or_off(level, -alpha.log(), off).sum(-1), on_or_off(level, -alpha.log()).sum(-1)


def with_gradients(level: Tensor, alpha: Tensor, off: Tensor) -> tuple[Tensor, ...]:
    values = sampled_rate(level, alpha, off)
    return *values, *torch.autograd.grad(sum(v.sum() for v in values), (alpha, off))


@pytest.mark.parametrize("compiler", ["make_fx", "eager", "aot_eager"])
def test_compiled(compiler):
    level, alpha = torch.randn(4, 5).relu(), torch.rand(4, 5, requires_grad=True)
    off = torch.tensor(0.3, requires_grad=True)
    expected = with_gradients(level, alpha, off)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if compiler == "make_fx":
            actual = make_fx(with_gradients)(level, alpha, off)(level, alpha, off)
        else:
            torch.compiler.reset()
            compiled = torch.compile(sampled_rate, backend=compiler, fullgraph=True)
            values = compiled(level, alpha, off)
            actual = *values, *torch.autograd.grad(sum(v.sum() for v in values), (alpha, off))
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("is_log", [False, True])
def test_without_values_to_look_at(is_log):
    level = torch.empty(3, device="meta")
    assert on_or_off(level, torch.empty(2, 3, device="meta"), 1.0, is_log=is_log).shape == (2, 3)
