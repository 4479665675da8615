"""What a program takes as x: a tensor, or several as a tuple or a mapping, all with the rows of one batch."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

__all__ = ["Input", "batch_size_of", "call_with", "count_nan", "has_x", "shape_of", "tensors_of"]

Input = Any
"""A tensor ``[batch, ...]``, a packed sequence, or a tuple or mapping of such and of what has no rows."""

OPTIONS = bool, int, float, str, type(None)
WAYS_OUT = {
    "ndarray": "pass torch.as_tensor(x)",
    "DataFrame": "pass torch.as_tensor(x.to_numpy())",
    "list": "pass torch.stack(x), or a tuple for several inputs",
    "DataLoader": "a program takes one batch at a time: `for x, y in loader: loss(x, y)`",
    "Dataset": "a program takes one batch at a time: wrap it in a torch.utils.data.DataLoader and pass its batches",
}


def tensors_of(x: Input, name: str = "x") -> Iterator[tuple[str, Tensor | PackedSequence]]:
    """Yield what has rows in x, each with how it is reached, as in ``x['mask']``.

    Args:
        x: The input. Numbers, truth values, strings, None and tensors of no dimension in it have no rows.
        name: What to call it.

    Raises:
        TypeError: If something in it is nothing that a program takes; says what to do.
    """
    if isinstance(x, Tensor):
        if x.dim():
            yield name, x
    elif isinstance(x, PackedSequence):
        yield name, x
    elif type(x) is tuple:
        for place, part in enumerate(x):
            yield from tensors_of(part, f"{name}[{place}]")
    elif isinstance(x, Mapping):
        for key, part in x.items():
            yield from tensors_of(part, f"{name}[{key!r}]")
    elif not isinstance(x, OPTIONS):
        kinds = [kind.__name__ for kind in type(x).__mro__]
        way_out = (
            "pass its x" if has_x(x) else next((WAYS_OUT[kind] for kind in kinds if kind in WAYS_OUT), "")
        )
        raise TypeError(
            f"{name} is a {type(x).__name__}; a program takes one tensor [batch, ...], a packed sequence, or a tuple "
            f"or mapping of such{'; ' * bool(way_out)}{way_out}"
        )


def has_x(data: object) -> bool:
    """Whether these are samples with their labels, as fits take them, rather than inputs alone."""
    return isinstance(getattr(data, "x", None), Tensor)


def batch_size_of(x: Input) -> int:
    """Return the number of rows of x, the same in all of its tensors.

    Raises:
        TypeError: If nothing in x has rows.
        ValueError: If numbers of rows differ; names both.
    """
    if isinstance(x, Tensor) and x.dim():
        return len(x)
    found = [(name, _rows_of(value)) for name, value in tensors_of(x)]
    if not found:
        raise TypeError(
            f"x is a {type(x).__name__} without rows; a program takes one tensor [batch, ...], a packed sequence, or "
            "a tuple or mapping of such"
        )
    (first, size), *others = found
    for name, rows in others:
        if rows != size:
            raise ValueError(
                f"{name} has {rows} rows, but {first} has {size}; the first dimension of every input is the batch, "
                "and what has no rows is a buffer of the network, or bound with functools.partial"
            )
    return size


def shape_of(x: Input) -> Hashable:
    """Return what is one sample's own of the shapes in x, as a key; of packed sequences, the lengths too."""
    if isinstance(x, Tensor):
        # The tracer of torch.jit has tensors for sizes, which are no keys.
        return tuple(map(int, x.shape[1:]))
    if isinstance(x, PackedSequence):
        return len(x.batch_sizes), tuple(map(int, x.data.shape[1:]))
    if isinstance(x, Mapping):
        return tuple((key, shape_of(part)) for key, part in x.items())
    return tuple(map(shape_of, x)) if type(x) is tuple else x


def call_with(function: Any, x: Input) -> Any:  # noqa: ANN401  (any network)
    """Call a network of x: a tuple is its arguments, anything else the one."""
    return function(*x) if type(x) is tuple else function(x)


def count_nan(x: Input) -> tuple[int, int]:
    """Return how many values of x are NaN, and of how many floating-point values in all."""
    values = [value.data if isinstance(value, PackedSequence) else value for _, value in tensors_of(x)]
    floating = [value for value in values if value.is_floating_point()]
    return sum(int(torch.isnan(value).sum()) for value in floating), sum(v.numel() for v in floating)


def _rows_of(value: Tensor | PackedSequence) -> int:
    return int(value.batch_sizes[0]) if isinstance(value, PackedSequence) else len(value)
