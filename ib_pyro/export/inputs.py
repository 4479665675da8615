"""What a program is called with: tensors, tuples and dicts of them, cut by rows together."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Argument", "Inputs", "Rows", "resolve_inputs"]

Argument = Tensor | Mapping[str, Any]
Rows = Argument | tuple[Argument, ...]
"""A tensor ``[N, ...]``, a mapping of such, which is one argument, or a tuple of either, which is several."""


@dataclass(frozen=True)
class Inputs:
    """The arguments of a model and a guide.

    Attributes:
        args: x, or x and y; a tuple x is several of them.
        num_rows: Number N of rows of each tensor.
        device: Where the program is likely to draw its noise.
    """

    args: tuple[Any, ...]
    num_rows: int
    device: torch.device

    def rows(self, rows: slice) -> tuple[Any, ...]:
        """Return the arguments for some rows."""
        return tuple(_cut(arg, rows) for arg in self.args)


def resolve_inputs(x: Rows, y: Argument | None, *, one_argument: bool) -> Inputs:
    """Return the arguments that x and y stand for.

    Args:
        x: A tensor or a mapping of tensors, or several as a tuple.
        y: A tensor or a mapping of tensors; None for no such argument.
        one_argument: Whether the program takes one x.

    Raises:
        TypeError: If something else is among them, or x is several arguments where the program takes one.
        ValueError: If there is no row, or numbers of rows differ.
    """
    several = type(x) is tuple
    if several and one_argument:
        raise TypeError(
            f"x: a tuple stands for several arguments, here {len(x)}, and a Bottleneck takes one; pass a dict of "
            "tensors to an encoder that takes one, or a pair (model, guide)"
        )
    inputs = {f"x[{i}]": arg for i, arg in enumerate(x)} if several else {"x": x}
    named = inputs if y is None else inputs | {"y": y}
    tensors = [leaf for name, argument in named.items() for leaf in _leaves(name, argument)]
    if not any(True for name, argument in inputs.items() for _ in _leaves(name, argument)):
        raise ValueError("x: expected at least one tensor [N, ...]; got none")
    first, rows_of = tensors[0]
    for name, tensor in tensors:
        if tensor.dim() == 0 or len(tensor) == 0:
            raise ValueError(f"{name}: expected at least one row [N, ...]; got shape {tuple(tensor.shape)}")
        if len(tensor) != len(rows_of):
            raise ValueError(f"{name}: {len(tensor)} rows for {len(rows_of)} in {first}; pass one for each")
    devices = [tensor.device for _, tensor in tensors]
    device = next((device for device in devices if device.type != "cpu"), devices[0])
    return Inputs(tuple(named.values()), len(rows_of), device)


def _leaves(name: str, argument: object) -> Iterator[tuple[str, Tensor]]:
    if isinstance(argument, Tensor):
        yield name, argument
    elif isinstance(argument, Mapping):
        for key, value in argument.items():
            yield from _leaves(f"{name}[{key!r}]", value)
    else:
        kind = type(argument).__name__
        advice = {
            "ndarray": "; pass torch.as_tensor(...)",
            "list": "; pass torch.as_tensor(...), or a tuple for several arguments",
            "PackedSequence": ", which cannot be cut by rows; pass the padded tensor and its lengths",
        }.get(kind, "; what has no rows is bound with functools.partial")
        raise TypeError(f"{name}: expected a tensor [N, ...], or a dict of tensors; got {kind}{advice}")


def _cut(argument: Any, rows: slice) -> Any:  # noqa: ANN401 (a tensor, or a mapping of what this takes)
    if isinstance(argument, Mapping):
        return {key: _cut(value, rows) for key, value in argument.items()}
    return argument[rows]
