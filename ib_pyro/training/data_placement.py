"""Data as a program takes them: on its device, and in the type that it computes in."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["placed"]


def placed(values: Tensor, program: nn.Module) -> Tensor:
    """Return data on the device of a program's parameters; floating-point values in their type too.

    Args:
        values: Inputs, or what is observed of them.
        program: A module; one without parameters takes them as they are.
    """
    like = next(program.parameters(), None)
    if like is None:
        return values
    return values.to(device=like.device, dtype=like.dtype if values.is_floating_point() else values.dtype)
