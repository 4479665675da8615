"""Checks of values: made where there are values to look at, and passed over where a program is only traced."""

from operator import index

import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor

__all__ = ["checks_values", "fails", "is_traced", "require_count", "require_gradients"]


def checks_values() -> bool:
    """Whether values are to be checked: Pyro's validation is on, and nobody is tracing the program.

    Under tracers and transforms, see :func:`is_traced`, a program runs without values to look at.
    """
    return is_validation_enabled() and not is_traced()


def is_traced() -> bool:
    """Whether tensors made here and now are those of a tracer or a transform.

    ``torch.compile``, ``torch.export`` and ``torch.jit.trace`` have no values, and ``torch.func.vmap`` has those of
    all its runs at once; what is made under either must not be kept.

    >>> is_traced(), torch.func.vmap(lambda x: x * is_traced())(torch.ones(2))
    (False, tensor([1., 1.]))
    """
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._functorch.peek_interpreter_stack() is not None
    )


def require_gradients(doing: str) -> None:
    """Refuse to learn where nothing has a gradient.

    Args:
        doing: What it would have done.

    Raises:
        RuntimeError: Within ``torch.inference_mode``, which no ``enable_grad`` within it ends, or ``torch.no_grad``.
    """
    inference = torch.is_inference_mode_enabled()
    if inference or not torch.is_grad_enabled():
        where, way_out = (
            ("inference_mode", "outside") if inference else ("no_grad", "outside, or in enable_grad()")
        )
        raise RuntimeError(
            f"{doing} within torch.{where}() would learn nothing: nothing there has a gradient; call it {way_out}"
        )


def require_count(name: str, value: object, least: int = 1) -> int:
    """Return a number of things as an integer.

    Args:
        name: What to call it in an error.
        value: The number, of any type of whole numbers.
        least: The least that it may be.

    Raises:
        ValueError: If it is less, or no whole number.

    >>> require_count("epochs", 3)
    3
    >>> require_count("epochs", 2.5)
    Traceback (most recent call last):
        ...
    ValueError: epochs must be a whole number, at least 1; got 2.5
    """
    try:
        count = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{name} must be a whole number, at least {least}; got {value!r}") from None
    if count < least:
        raise ValueError(f"{name} must be at least {least}; got {value!r}")
    return count


def fails(condition: Tensor) -> bool:
    """Whether a condition is known to be false for some element.

    Under ``torch.func.vmap``, in a fake mode and on the meta device no element can be looked at, and nothing is known.
    It waits for the device: ask :func:`checks_values` first.

    Args:
        condition: What is to hold of every element, of any shape.

    Example:
        >>> fails(torch.tensor([True, False])), fails(torch.tensor([True, True]))
        (True, False)
        >>> fails(torch.zeros(2, device="meta") == 0)
        False
    """
    try:
        return not bool(condition.all())
    except RuntimeError:
        return False
