"""Choose between the value of a unit that is on and that of one that is off, an atom."""

import math

import torch
from torch import Tensor

__all__ = ["on_or_off"]


def on_or_off(level: Tensor, on: Tensor, off: Tensor | float = 0.0, *, is_log: bool = False) -> Tensor:
    """Return ``on`` where a level is not zero and ``off`` where it is: ``torch.where(level == 0, off, on)``.

    Like that, it passes nothing on of the value that is not chosen, infinite or NaN, nor a gradient to it, and a NaN
    counts as on. But it goes over memory in whole vectors, where ``torch.where`` and ``masked_fill`` of PyTorch's CPU
    branch at each element: with units that are on or off at random they take thirty times as long as a product.

    Args:
        level: The activation, or its logarithm; it gets no gradient.
        on: Value of a unit that is on.
        off: Value of a unit that is off. The number 0 costs one pass over memory, any other value four.
        is_log: Whether the level is a logarithm, whose zero is ``-inf``.

    Returns:
        Of the type that all of them promote to, broadcast over all.

    >>> on_or_off(torch.tensor([0.0, 2.0]), torch.tensor([torch.inf, 3.0]))
    tensor([0., 3.])
    >>> on_or_off(
    ...     torch.tensor([-torch.inf, 2.0]),
    ...     torch.tensor([1.0, 3.0]),
    ...     torch.inf,
    ...     is_log=True,
    ... )
    tensor([inf, 3.])
    """
    level, zero = (level.detach(), -math.inf) if is_log else (level.detach().abs(), 0.0)
    if not isinstance(off, Tensor) and off == 0:
        on, level = _alike(on, level)
        return _above(on, level, zero)
    off = off if isinstance(off, Tensor) else torch.full_like(on, off)
    on, level, off = _alike(on, level, off)
    is_off = 1 - _above(torch.ones_like(level), level, zero)
    return _above(on, level, zero) + _above(off, is_off, 0.0)


def _alike(*tensors: Tensor) -> tuple[Tensor, ...]:
    shape = tensors[0].shape
    if all([tensor.shape == shape for tensor in tensors]):
        return tensors
    return torch.broadcast_tensors(*tensors)


def _above(value: Tensor, level: Tensor, threshold: float) -> Tensor:
    """Return a value where a level is above a threshold or NaN, and zero elsewhere."""
    # The derivative of a ReLU is just this choice, and every backend, compiler and transform of PyTorch knows it.
    chosen: Tensor = torch.ops.aten.threshold_backward(value, level, threshold)
    return chosen
