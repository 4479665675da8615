"""Which rows of an export are among those that the program was fitted to."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["FITTED_TO", "NUM_ROWS_FITTED_TO", "common_rows"]

FITTED_TO = "fitted_to"
"""The coordinate that says of each row of a result whether the program was fitted to it."""

NUM_ROWS_FITTED_TO = "num_rows_fitted_to"
"""The attribute that says how many there were when it was exported."""


def common_rows(x: tuple[Any, ...], fitted_to: tuple[Any, ...]) -> np.ndarray:
    """Return of each row of x whether it is, value by value, among those of another set.

    Args:
        x: Arguments of a program, each a tensor ``[N, ...]`` or a mapping of such.
        fitted_to: The same arguments with other rows, ``[M, ...]``.

    Returns:
        Truth values, ``[N]``.

    Raises:
        ValueError: If the two differ in anything but their rows: names, shapes or types.
    """
    mine, theirs = dict(_leaves("x", x)), dict(_leaves("x", fitted_to))
    described, others = ({name: _kind(t) for name, t in leaves.items()} for leaves in (mine, theirs))
    if described != others:
        raise ValueError(
            f"fitted_to: its rows are {others}, and those of x {described}; pass what the program was fitted to as x "
            "is passed, or leave it out"
        )
    fitted = set(_rows(theirs))
    return np.array([row in fitted for row in _rows(mine)])


def _leaves(name: str, argument: Any) -> Iterator[tuple[str, Tensor]]:  # noqa: ANN401 (a nest of tensors)
    if isinstance(argument, Tensor):
        yield name, argument
    else:
        parts = argument.items() if isinstance(argument, Mapping) else enumerate(argument)
        for key, value in parts:
            yield from _leaves(f"{name}[{key!r}]", value)


def _kind(tensor: Tensor) -> tuple[tuple[int, ...], torch.dtype]:
    return tuple(tensor.shape[1:]), tensor.dtype


def _rows(leaves: Mapping[str, Tensor]) -> Iterator[tuple[bytes, ...]]:
    # 0.0 and -0.0 are one value of two patterns.
    arrays = [(t.detach().cpu() + 0).contiguous() for t in leaves.values()]
    flat = [a.reshape(len(a), -1).view(torch.uint8).numpy() for a in arrays]
    for row in range(len(flat[0])):
        yield tuple(array[row].tobytes() for array in flat)
