"""What can be fitted: a program, or a model and a guide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ib_pyro.buffers import modules_behind

__all__ = ["ModelAndGuide", "as_program", "model_and_guide"]

Side = Callable[..., Any]


class ModelAndGuide(nn.Module):
    """A model and a guide as one module, with all the modules that they call.

    Args:
        model: The model, a module or a function.
        guide: The guide.
    """

    def __init__(self, model: Side, guide: Side) -> None:
        super().__init__()
        found = modules_behind(model, guide)
        within = {id(part) for module in found for part in module.modules() if part is not module}
        self.parts = nn.ModuleList(module for module in found if id(module) not in within)
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "guide", guide)


def as_program(program: object, *, name: str = "program") -> nn.Module:
    """Return what is fitted as a module with a model and a guide.

    Args:
        program: A ``ib_pyro.Bottleneck``, a module with ``model`` and ``guide``, or a pair ``(model, guide)``.
        name: What messages call it.

    Raises:
        TypeError: If it is none of these.
    """
    if isinstance(program, tuple) and len(program) == 2 and all(callable(side) for side in program):
        return ModelAndGuide(*program)
    if isinstance(program, nn.Module):
        model_and_guide(program, name=name)
        return program
    raise TypeError(
        f"{name}: a {type(program).__name__} is no program; pass an ib_pyro.Bottleneck, a module with model and "
        "guide, or the pair (model, guide)"
    )


def model_and_guide(program: nn.Module, *, name: str = "program") -> tuple[Side, Side]:
    """Return a program's model and its guide.

    Args:
        program: A ``ib_pyro.Bottleneck``, or any module with ``model`` and ``guide``.
        name: What messages call it.

    Raises:
        TypeError: If it lacks one.
    """
    sides = getattr(program, "model", None), getattr(program, "guide", None)
    if not all(callable(side) for side in sides):
        raise TypeError(
            f"{name}: a {type(program).__name__} has no model and guide to call; pass an ib_pyro.Bottleneck, a "
            "module that has both, or the pair (model, guide)"
        )
    return sides  # type: ignore[return-value]
