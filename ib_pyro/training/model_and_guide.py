"""The two sides of a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

__all__ = ["model_and_guide"]

Side = Callable[..., Any]


def model_and_guide(program: nn.Module) -> tuple[Side, Side]:
    """Return a program's model and its guide.

    Args:
        program: A ``ib_pyro.Bottleneck``, or any module with ``model`` and ``guide``.

    Raises:
        TypeError: If it lacks one.
    """
    sides = getattr(program, "model", None), getattr(program, "guide", None)
    if not all(callable(side) for side in sides):
        raise TypeError(
            f"program: a {type(program).__name__} has no model and guide to call; pass an ib_pyro.Bottleneck, or a "
            "module that has both"
        )
    return sides  # type: ignore[return-value]
