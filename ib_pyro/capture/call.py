"""The arguments of a call, as a recording is chosen by them and as a graph takes them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from enum import Enum
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from ib_pyro.capture.recording import CaptureError

__all__ = ["Call", "as_recorded", "flattened", "key_of", "without_casts"]

FIXED: tuple[type, ...] = (str, int, bool, bytes, type(None), range, Enum, np.generic)
FIXED += (torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size)
CASTING = "cpu", "cuda", "mps"


class Call(NamedTuple):
    """The arguments of a call, in the order in which a graph takes them.

    Attributes:
        leaves: The arguments, one after the other.
        structure: How they are put together.
        kind: What else leads to another recording.
        numbers: Numbers that the function takes before its arguments.
        lifts: Whether a graph takes the numbers as tensors.
    """

    leaves: list[Any]
    structure: TreeSpec
    kind: object
    numbers: tuple[float, ...]
    lifts: bool

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors among the arguments, after the numbers if these are handed over too."""
        numbers = [torch.tensor(number, dtype=torch.float64) for number in self.numbers] if self.lifts else []
        return [*numbers, *(leaf for leaf in self.leaves if isinstance(leaf, Tensor))]

    def rebuilt(self, tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the function's arguments, numbers first, with these tensors in the place of those of the call."""
        remaining = iter(tensors)
        numbers = tuple(next(remaining) for _ in self.numbers) if self.lifts else self.numbers
        leaves = [next(remaining) if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]
        args, kwargs = tree_unflatten(leaves, self.structure)
        return (numbers, *args), kwargs

    def of_any_values(self) -> tuple[object, ...]:
        """Return what the call is, but for the values of the arguments that are no tensors."""
        kinds = [_of_tensor(leaf) if isinstance(leaf, Tensor) else type(leaf) for leaf in self.leaves]
        return (*kinds, _hashable(self.structure), self.kind, *_modes())

    def describe_values(self) -> str:
        """Return the arguments that are no tensors, for messages."""
        values = [f"{leaf!r:.60}" for leaf in self.leaves if not isinstance(leaf, Tensor)]
        return ", ".join(values)


def flattened(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], TreeSpec]:
    """Return arguments one after the other, and how they are put together."""
    if kwargs or not all([isinstance(argument, Tensor) for argument in args]):
        return tree_flatten((args, kwargs))
    return list(args), _of_so_many(len(args))  # the usual case, in a tenth of the time


@cache
def _of_so_many(number: int) -> TreeSpec:
    return tree_flatten(((0,) * number, {}))[1]


def key_of(call: Call) -> tuple[object, ...]:
    """Return what a recording is chosen by.

    Raises:
        CaptureError: If an argument may change without another value showing it.
    """
    kinds = [_of_tensor(leaf) if isinstance(leaf, Tensor) else _of_value(leaf) for leaf in call.leaves]
    return (*kinds, *_repeated(call.leaves), _hashable(call.structure), call.kind, *_modes())


def as_recorded(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the same tensors as other objects, so that an argument is not taken for a parameter that it also is."""
    others = {id(tensor): tensor.detach() for tensor in tensors}
    return [others[id(tensor)] for tensor in tensors]


def without_casts() -> AbstractContextManager[object]:
    """Compute in the types of the tensors, whatever automatic casting there is around."""
    stack = ExitStack()
    for device in CASTING:
        if torch.is_autocast_enabled(device):
            stack.enter_context(torch.autocast(device, enabled=False))
    return stack


def _hashable(structure: TreeSpec) -> object:
    return structure if _has_hash() else repr(structure)


@cache
def _has_hash() -> bool:
    """Whether structures can be keys, which they could not always be in PyTorch."""
    try:
        hash(_of_so_many(1))
    except TypeError:
        return False
    return True


def _of_tensor(tensor: Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.dtype, tensor.device, tensor.stride(), tensor.requires_grad


def _of_value(leaf: object) -> tuple[object, ...]:
    # 1, 1.0 and True are equal, and so are 0.0 and -0.0, and they are not the same argument.
    if isinstance(leaf, float | complex):
        return type(leaf), repr(leaf)
    if not isinstance(leaf, FIXED):
        raise CaptureError(
            f"an argument is a {type(leaf).__name__}, of which a captured program cannot tell whether it is the same "
            "at the next call; pass tensors, numbers and strings"
        )
    return type(leaf), leaf


def _repeated(leaves: Sequence[object]) -> tuple[object, ...]:
    """Return which tensors are one object: a program may look at that."""
    found = [id(leaf) for leaf in leaves if isinstance(leaf, Tensor)]
    return () if len(set(found)) == len(found) else tuple(map(found.index, found))


def _modes() -> tuple[object, ...]:
    """Return what a graph depends on beside the arguments: the default type, automatic casting, inference mode."""
    casts = [(kind, torch.get_autocast_dtype(kind)) for kind in CASTING if torch.is_autocast_enabled(kind)]
    return torch.get_default_dtype(), torch.is_inference_mode_enabled(), *casts
