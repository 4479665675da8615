"""Which type a result has and which it is computed in: never the half types, whose range and digits do not suffice."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import reduce

import torch
from torch import Tensor
from torch.distributions.utils import broadcast_all

__all__ = ["broadcast_floats", "promoted", "raised", "single_or_wider", "widest", "without_autocast"]

HALF = frozenset({torch.float16, torch.bfloat16})
FULL = frozenset({torch.float32, torch.float64})


def promoted(*values: Tensor | float) -> torch.dtype:
    """Return the floating type that tensors promote to, as in arithmetic.

    Numbers take no part, nor do tensors without dimensions beside those with some; without floating tensors it is the
    default type.

    Args:
        *values: Tensors, and numbers beside them.

    Example:
        >>> promoted(
        ...     torch.zeros(2, dtype=torch.float16), torch.zeros(2, dtype=torch.float64), 1.0
        ... )
        torch.float64
        >>> promoted(torch.zeros(2), torch.zeros((), dtype=torch.float64))
        torch.float32
    """
    floats = [value for value in values if isinstance(value, Tensor) and value.is_floating_point()]
    return _widest_of([value.dtype for value in floats if value.dim()] or [value.dtype for value in floats])


def raised(*values: Tensor) -> tuple[torch.dtype, tuple[Tensor, ...]]:
    """Return the type that tensors promote to, and the tensors in that type, or in float32 if it is a half type.

    What is computed from the latter is meant to be cast to the former at the end, once.

    Args:
        *values: Tensors of any shapes, at least one.
    """
    dtype = values[0].dtype
    # The usual case is told first: a training step asks a few times for each of its layers.
    if dtype in FULL and all([value.dtype == dtype for value in values]):
        return dtype, values
    dtype = promoted(*values)
    compute = torch.float32 if dtype in HALF else dtype
    return dtype, tuple(value.to(compute) for value in values)


def single_or_wider(value: Tensor) -> Tensor:
    """Return a tensor itself, or in float32 if its type is a half one."""
    return value.float() if value.dtype in HALF else value


def widest(device: torch.device) -> torch.dtype:
    """Return the widest floating type of a device: float64, but float32 on MPS, which has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Compute on a device in the types of the tensors, whatever automatic casting there is around."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def broadcast_floats(*values: Tensor | float, names: Sequence[str] = ()) -> tuple[Tensor, ...]:
    """Broadcast parameters to one shape and one floating type, the one that the tensors among them promote to.

    Numbers take the type of the tensors, and the default type without any. A number beside a tensor of integers is not
    rounded to one, as ``torch.distributions.utils.broadcast_all`` does.

    Args:
        *values: Parameters of one distribution, of shapes that broadcast.
        names: What they are called in an error.

    Raises:
        ValueError: If they do not broadcast; says the shapes.

    Example:
        >>> activation, drop_prob = broadcast_floats(torch.tensor([1, 2]), 0.5)
        >>> drop_prob
        tensor([0.5000, 0.5000])
    """
    tensors = [value for value in values if isinstance(value, Tensor)]
    if len(tensors) == len(values) and tensors[0].dtype in FULL:
        dtype, shape = tensors[0].dtype, tensors[0].shape
        if all([value.dtype == dtype and value.shape == shape for value in tensors]):
            return tuple(tensors)
    if any(value.dtype != tensors[0].dtype or not value.is_floating_point() for value in tensors):
        dtype = _widest_of([value.dtype for value in tensors if value.is_floating_point()])
        tensors = [value.to(dtype) for value in tensors]
        remaining = iter(tensors)
        values = tuple(next(remaining) if isinstance(value, Tensor) else value for value in values)
    try:
        return broadcast_all(*values)
    except RuntimeError as error:
        named = [f"{name} " for name in names] or [""] * len(values)
        shapes = [
            f"{n}{tuple(v.shape)}" for n, v in zip(named, values, strict=False) if isinstance(v, Tensor)
        ]
        raise ValueError(f"parameters of shapes that do not broadcast: {', '.join(shapes)}") from error


def _widest_of(dtypes: Iterable[torch.dtype]) -> torch.dtype:
    dtypes = list(dtypes)
    return reduce(torch.promote_types, dtypes) if dtypes else torch.get_default_dtype()
