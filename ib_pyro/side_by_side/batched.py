"""How common operations are done for several runs at once, where ``torch.func.vmap`` has no rule or a slow one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["BatchedOperations"]

BATCH_NORM: Callable[..., Tensor] = torch.batch_norm


class BatchedOperations(TorchFunctionMode):
    """Do linear maps, batch norm, and draws into a new tensor, as suits several runs.

    Linear maps add their bias in the product, and batch norm has a channel for each run's channels with its own scale
    and shift, in place of some ten operations. ``torch.empty(shape).normal_()``, by which PyTorch's normal law draws,
    is refused by ``torch.func.vmap``, since what it writes to does not differ between runs.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (whatever the function returns)
        """Replace a function that is done in another way."""
        kwargs = kwargs or {}
        if func is F.linear and _all_batched(args[:2]) and args[0].dim() > 1:
            return _Linear.apply(*args, *kwargs.values(), *(None,) * (3 - len(args) - len(kwargs)))
        if func is F.batch_norm and _all_batched(args[:1]):
            return _batch_norm(*args, **kwargs)
        draw = DRAWS_INTO.get(getattr(func, "__name__", ""))
        if draw is not None and args and not _all_batched(args[:1]):
            return draw(*args, **kwargs)
        return func(*args, **kwargs)


class _Linear(torch.autograd.Function):
    """``x W^T + b`` of each run as one batched product, for any number of rows."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ANN401  (PyTorch's)
        """Keep nothing: its rule for several runs is made of differentiable operations."""

    @staticmethod
    def vmap(
        info: Any,  # noqa: ANN401  (PyTorch's)
        in_dims: tuple[int | None, ...],
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
    ) -> tuple[Tensor, int]:
        x, weight = _with_runs(x, in_dims[0], 0), _with_runs(weight, in_dims[1], 0)
        rows = x if x.dim() == 3 else x.reshape(len(x), -1, x.shape[-1])
        turned = weight.transpose(1, 2)
        if bias is None:
            product = torch.bmm(rows, turned)
        else:
            product = torch.baddbmm(_with_runs(bias, in_dims[2], 0).unsqueeze(-2), rows, turned)
        return product if x.dim() == 3 else product.view(*x.shape[:-1], weight.shape[1]), 0


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Be what PyTorch's function of this name is, with its arguments in the order of the operation."""
    if training:
        F._verify_batch_size(x.size())  # type: ignore[attr-defined]
    normed: Tensor = _BatchNorm.apply(x, weight, bias, running_mean, running_var, training, momentum, eps)
    return normed


class _BatchNorm(torch.autograd.Function):
    """Batch norm over the channels of all runs, whose statistics are written in place."""

    @staticmethod
    def forward(x: Tensor, *args: Any) -> Tensor:
        return BATCH_NORM(x, *args, torch.backends.cudnn.enabled)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ANN401  (PyTorch's)
        """Keep nothing: its rule for several runs is made of differentiable operations."""

    @staticmethod
    def vmap(
        info: Any,  # noqa: ANN401  (PyTorch's)
        in_dims: tuple[int | None, ...],
        x: Tensor,
        *args: Any,
    ) -> tuple[Tensor, int]:
        runs = info.batch_size
        x = _with_runs(x, in_dims[0], 1)
        flat = x.reshape(len(x), -1, *x.shape[3:])
        channels = [
            value
            if value is None
            else (value.expand(runs, -1).reshape(-1) if dim is None else _with_runs(value, dim, 0).view(-1))
            for value, dim in zip(args[:4], in_dims[1:5], strict=True)
        ]
        normed = BATCH_NORM(flat, *channels, *args[4:], torch.backends.cudnn.enabled)
        return normed.view(x.shape), 1


def _with_runs(value: Tensor, dim: int | None, at: int) -> Tensor:
    """Return a tensor with the dimension of the runs at a place."""
    return value if dim is None or dim == at else value.movedim(dim, at)


def _normal(into: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: object = None) -> Tensor:
    drawn = torch.randn(into.shape, dtype=into.dtype, device=into.device, generator=generator)  # type: ignore[call-overload]
    return drawn if (mean, std) == (0.0, 1.0) else mean + std * drawn


def _uniform(into: Tensor, low: float = 0.0, high: float = 1.0, *, generator: object = None) -> Tensor:
    drawn = torch.rand(into.shape, dtype=into.dtype, device=into.device, generator=generator)  # type: ignore[call-overload]
    return drawn if (low, high) == (0.0, 1.0) else low + (high - low) * drawn


DRAWS_INTO: dict[str, Callable[..., Tensor]] = {"normal_": _normal, "uniform_": _uniform}


def _all_batched(values: tuple[object, ...]) -> bool:
    batched = torch._C._functorch.is_batchedtensor
    return all(isinstance(value, Tensor) and batched(value) for value in values)
