"""What is inside of a distribution: its tensors elsewhere, its modules, and what its transforms remember."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.distributions import Distribution, Transform
from torch.distributions.constraints import Constraint

__all__ = ["forget_values", "modules_in", "moved"]

Place = Callable[[Tensor], Tensor]
Movable = TypeVar("Movable", Distribution, Transform)


def moved(distribution: Movable, place: Place, known: Mapping[int, Tensor]) -> Movable:
    """Return a distribution whose tensors are where a function puts them; the same one if all are there already.

    The one that is given is left alone, since others may use it too. What is inside of it is moved with it:
    distributions, transforms, modules and constraints, also in lists, tuples and dictionaries.

    Args:
        distribution: The distribution, or a transform.
        place: What ``nn.Module._apply`` is given. It says where a tensor is to be and of which type; the numbers stay.
        known: Tensors that are moved already, by the ``id`` of what they were.

    Raises:
        ValueError: If a tensor that requires a gradient would be replaced by another: who learns it would not know.
    """
    tensors = {id(tensor): tensor for tensor in _tensors_in(distribution, set())}
    places = {key: known[key] if key in known else _moved(tensor, place) for key, tensor in tensors.items()}
    if all(places[key] is tensor for key, tensor in tensors.items()):
        return distribution
    copied: Movable = _rebuilt(distribution, dict(places))
    return copied


def modules_in(*values: object) -> list[nn.Module]:
    """Return the outermost modules inside of distributions and transforms, in order: what a flow learns is in them.

    Args:
        *values: Distributions, transforms, and lists of them.
    """
    return [part for part in _walk(values, set(), into_modules=False) if isinstance(part, nn.Module)]


def forget_values(*values: object) -> None:
    """Drop the values that transforms keep of their last use, whose graphs can be neither copied nor stored.

    Args:
        *values: Distributions, transforms, and lists of them.
    """
    for part in _walk(values, set(), into_modules=True):
        if isinstance(part, Transform):
            for name, value in vars(part).items():
                if name == "_cached_x_y":
                    vars(part)[name] = (None, None)
                elif name.startswith("_cache") and isinstance(value, Tensor):
                    vars(part)[name] = None


def _walk(value: object, seen: set[int], *, into_modules: bool) -> Iterator[object]:
    """Go through what is inside of a value, each part once."""
    if id(value) in seen:
        return
    seen.add(id(value))
    yield value
    parts: Iterable[object] = ()
    if isinstance(value, Distribution | Transform | Constraint | nn.Module):
        parts = vars(value).values() if into_modules or not isinstance(value, nn.Module) else ()
    elif isinstance(value, list | tuple):
        parts = value
    elif isinstance(value, dict):
        parts = value.values()
    for part in list(parts):
        yield from _walk(part, seen, into_modules=into_modules)


def _moved(tensor: Tensor, place: Place) -> Tensor:
    like = place(tensor)
    if like is tensor:
        return tensor
    if tensor.requires_grad:
        raise ValueError(
            f"a tensor of shape {tuple(tensor.shape)} requires a gradient, and would be replaced by one of type "
            f"{like.dtype} on {like.device}"
        )
    # Not what was made of it: `to_empty` makes tensors without its numbers, and nobody would load them again.
    there = like if tensor.is_meta else tensor.to(device=like.device, dtype=like.dtype)
    return nn.Parameter(there, requires_grad=False) if isinstance(tensor, nn.Parameter) else there


def _parts(value: object) -> Iterable[Any]:
    if isinstance(value, nn.Module):
        return [*value.parameters(), *value.buffers()]
    if isinstance(value, Distribution | Transform | Constraint):
        # What a transform has last computed is where the tensors were.
        return [part for name, part in vars(value).items() if name != "_cached_x_y"]
    if isinstance(value, list | tuple):
        return value
    return value.values() if isinstance(value, dict) else ()


def _tensors_in(value: object, seen: set[int]) -> Iterator[Tensor]:
    # A transform and its inverse refer to each other.
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
    for part in _parts(value):
        yield from _tensors_in(part, seen)


def _rebuilt(value: Any, memo: dict[int, Any]) -> Any:  # noqa: ANN401  (whatever a distribution holds)
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, nn.Module):
        # One that whoever holds it has moved itself stays the same, in its mode too.
        is_there = all(memo.get(id(tensor)) is tensor for tensor in _parts(value))
        memo[id(value)] = value if is_there else copy.deepcopy(value, memo)
    elif isinstance(value, Distribution | Transform | Constraint):
        # Not by copy.copy, which lets an inverse transform forget of what.
        memo[id(value)] = new = object.__new__(type(value))
        for name, part in vars(value).items():
            vars(new)[name] = (None, None) if name == "_cached_x_y" else _rebuilt(part, memo)
    elif type(value) in (list, tuple):
        return type(value)([_rebuilt(part, memo) for part in value])
    elif type(value) is dict:
        return {key: _rebuilt(part, memo) for key, part in value.items()}
    return memo.get(id(value), value)
