"""What a program is called with: the parts of a batch, in place and by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Batch", "Placement", "batch_of", "leaves_of"]


class Batch(NamedTuple):
    """The arguments of a program for some samples.

    Attributes:
        args: Arguments in place, such as x and y.
        kwargs: Arguments by name, of a batch that is a mapping.
        share: What the mean loss of the batch counts for in the mean over processes; 1 in a single one.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    share: float = 1.0

    @property
    def size(self) -> int:
        """Number of samples.

        Raises:
            TypeError: If the batch holds no tensor.
        """
        for leaf in leaves_of(self):
            if isinstance(leaf, Tensor) and leaf.dim():
                return len(leaf)
        raise TypeError("data: a batch has no tensor with the samples in its first dimension")


def batch_of(parts: object) -> Batch:
    """Return a batch as the arguments of a program: a tuple or a list in place, a mapping by name, a tensor alone.

    Raises:
        TypeError: If it is none of these.
    """
    if isinstance(parts, Mapping):
        return Batch((), dict(parts))
    if isinstance(parts, tuple | list):
        return Batch(tuple(parts), {})
    if isinstance(parts, Tensor | np.ndarray):
        return Batch((parts,), {})
    raise TypeError(
        f"data: a batch is a {type(parts).__name__}; make it a tuple of the program's arguments, such as (x, y), a "
        "mapping of them by name, or one tensor"
    )


def leaves_of(batch: Batch) -> Iterator[Any]:
    """Go through what lists and mappings among the arguments hold, in order."""
    todo = [batch.kwargs[name] for name in reversed(batch.kwargs)] + list(reversed(batch.args))
    while todo:
        part = todo.pop()
        if isinstance(part, Mapping):
            todo.extend(part[name] for name in reversed(list(part)))
        elif isinstance(part, tuple | list):
            todo.extend(reversed(part))
        else:
            yield part


class Placement:
    """Puts arguments on the device of a program's parameters, and numbers with fractions into their type.

    Args:
        program: A module; without parameters it gets its arguments as they are.
    """

    def __init__(self, program: nn.Module) -> None:
        like = next(program.parameters(), None)
        self._device = None if like is None else like.device
        self._dtype = None if like is None else like.dtype

    def __call__(self, batch: Batch) -> Batch:
        """Return a batch with its tensors, and arrays as tensors, in place."""
        args, kwargs, share = batch
        placed = tuple([self._one(part) for part in args])
        return Batch(
            placed, {name: self._one(part) for name, part in kwargs.items()} if kwargs else {}, share
        )

    def _one(self, part: Any) -> Any:  # noqa: ANN401 (whatever a program takes)
        if isinstance(part, np.ndarray):
            part = torch.as_tensor(part)
        if isinstance(part, Tensor):
            if self._device is None:
                return part
            dtype = self._dtype if part.is_floating_point() else part.dtype
            return part.to(device=self._device, dtype=dtype)
        if isinstance(part, Mapping):
            return {name: self._one(value) for name, value in part.items()}
        if isinstance(part, tuple | list):
            return [self._one(value) for value in part]
        return part
