"""Places in a network that exists: behind a module, one of its calls, in one part of its output."""

import re
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, NamedTuple, Self

from torch import Tensor

__all__ = ["Place", "exchanged"]

KEY = re.compile(r"(?P<path>[^\[\]#]*)(#(?P<call>[1-9]\d*))?(?P<parts>(\[[^\[\]]+\])*)")


class Place(NamedTuple):
    """Where a layer is inserted: behind a module, one of its calls, and in one part of its output.

    Attributes:
        path: The module's path in the network; empty for the network itself.
        call: Which of its calls in one pass, from 1; None if it is called once.
        parts: Indices and keys that lead to the tensor in the module's output.
        batch_dim: The tensor's dimension of the batch.
    """

    path: str
    call: int | None
    parts: tuple[int | str, ...]
    batch_dim: int

    @classmethod
    def of(cls, key: str, batch_dim: int) -> Self:
        """Read a place such as ``"encoder.lstm[0]"``, or ``"block.relu#2"`` for a second call."""
        match = KEY.fullmatch(key)
        if match is None:
            raise ValueError(
                f"{key!r} is no place in a network; name a module, as in 'layer3', one of several calls of it, as in "
                "'relu#2', and a part of its output, as in 'lstm[0]'"
            )
        parts = re.findall(r"\[([^\[\]]+)\]", match["parts"])
        call = int(match["call"]) if match["call"] else None
        read = tuple(int(p) if re.fullmatch(r"-?\d+", p) else p.strip("'\"") for p in parts)
        return cls(match["path"], call, read, batch_dim)


def exchanged(
    output: Any,  # noqa: ANN401  (any module's output)
    parts: tuple[int | str, ...],
    function: Callable[[Tensor], Tensor],
    key: str,
) -> Any:  # noqa: ANN401  (likewise)
    """Return a module's output with a function applied to one of its parts; mappings and lists are copied.

    Args:
        output: The output.
        parts: What leads to the part; nothing if it is the output itself.
        function: Is given the part.
        key: What the place is called.

    Raises:
        TypeError: If the part is no tensor of real numbers; says which parts are.
        ValueError: If there is no such part.
    """
    if not parts:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            found = ", ".join(_parts_of(output, key)) or "none"
            raise TypeError(
                f"site {key!r}: the module puts out a {type(output).__name__}, not a tensor of real numbers; name the "
                f"part that the layer is for: {found}"
            )
        return function(output)
    first, *rest = parts
    try:
        part = exchanged(output[first], tuple(rest), function, key)
    except (KeyError, IndexError) as error:
        raise ValueError(
            f"site {key!r}: the output has no part [{first}] ({type(output).__name__})"
        ) from error
    if isinstance(output, tuple):
        values = [part if place == first % len(output) else v for place, v in enumerate(output)]
        return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)
    output = copy(output)
    output[first] = part
    return output


def _parts_of(output: object, prefix: str) -> list[str]:
    if isinstance(output, Tensor):
        return [f"{prefix!r} {tuple(output.shape)}"] if output.is_floating_point() else []
    if isinstance(output, Mapping):
        return [part for name, value in output.items() for part in _parts_of(value, f"{prefix}[{name}]")]
    if isinstance(output, tuple | list) and not hasattr(output, "batch_sizes"):
        return [part for place, value in enumerate(output) for part in _parts_of(value, f"{prefix}[{place}]")]
    return []
