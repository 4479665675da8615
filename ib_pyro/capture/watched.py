"""What a program may keep outside of its modules: lists, mappings, objects, and variables of functions."""

import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn
from torch.distributions import Distribution

__all__ = ["PLAIN", "Watched", "attributes_of", "functions_of", "watched_in"]

PLAIN = str, int, float, bool, complex, type(None)
LEAVES = (*PLAIN, Tensor, nn.Module, np.ndarray, Distribution, type, types.ModuleType, bytes, range)
NOT_LOOKED_INTO = frozenset(sys.stdlib_module_names) | {
    "torch",
    "pyro",
    "numpy",
    "lightning",
    "ib_pyro",
    "builtins",
}
LOOKED_INTO = "ib_pyro.elbo", "types"
OF_EVERY_MODULE = frozenset(nn.Module().__dict__)
OF_PYRO = frozenset({"_pyro_context", "_pyro_name", "_pyro_params", "_pyro_samples"})
LARGEST = 256
"""Entries of a list or mapping beyond which its length alone is looked at: it is data, not a setting."""


class Watched(NamedTuple):
    """Something that holds values under names.

    Attributes:
        owner: What it is.
        title: What it is called in messages.
        read: Returns what it holds now.
        restore: Makes it hold what it has held.
    """

    owner: object
    title: str
    read: Callable[[], Mapping[Any, Any]]
    restore: Callable[[Mapping[Any, Any]], None]


def watched_in(items: Iterable[object]) -> list[Watched]:
    """Return what can change in place behind some values, other than modules and tensors, each once.

    Lists, mappings, sets and objects of the user's are followed, and functions into their closures and the global
    variables that they name. What libraries hold is not.

    Args:
        items: The values.
    """
    found: list[Watched] = []
    seen: dict[int, object] = {}
    todo, scopes = list(items), dict[int, tuple[dict[str, Any], set[str]]]()
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, LEAVES):
            continue
        seen[id(item)] = item
        if isinstance(item, types.FunctionType):
            todo.extend(_of_function(item, found, scopes))
            continue
        one = _watched(item)
        if one is not None:
            found.append(one)
            todo.extend(one.read().values())
        else:
            todo.extend(_held_for_good(item))
    return found + [_of_scope(scope, names) for scope, names in scopes.values() if names]


def attributes_of(module: nn.Module) -> Iterator[object]:
    """Return the values of a module's attributes, without those that a library keeps for its own use."""
    own = _is_library(type(module))
    for name, value in module.__dict__.items():
        if name not in OF_EVERY_MODULE and not (name.startswith("_") and (own or name in OF_PYRO)):
            yield value


def functions_of(module: nn.Module) -> Iterator[types.FunctionType]:
    """Return the functions of a module's class and its parents, without those of libraries."""
    for kind in type(module).__mro__:
        if not _is_library(kind):
            yield from (value for value in vars(kind).values() if isinstance(value, types.FunctionType))


def _is_library(item: object) -> bool:
    name = getattr(item, "__module__", None) or ""
    return name.split(".")[0] in NOT_LOOKED_INTO and not name.startswith(LOOKED_INTO)


def _watched(item: object) -> Watched | None:
    title = type(item).__name__
    if isinstance(item, dict):
        if len(item) > LARGEST:
            return Watched(item, title, lambda: {"its length": len(item)}, lambda old: None)
        return Watched(item, title, lambda: item, lambda old: _refill(item, old))
    if isinstance(item, list | set):
        if len(item) > LARGEST:
            return Watched(item, title, lambda: {"its length": len(item)}, lambda old: None)
        return Watched(item, title, lambda: dict(enumerate(item)), lambda old: _refill_sequence(item, old))
    if hasattr(item, "__dict__") and not callable(item) or _is_object_with_call(item):
        if _is_library(type(item)):
            return None
        return Watched(item, title, lambda: vars(item), lambda old: _refill(vars(item), old))
    return None


def _is_object_with_call(item: object) -> bool:
    kinds = partial, types.FunctionType, types.MethodType, types.BuiltinFunctionType
    return hasattr(item, "__dict__") and not isinstance(item, kinds)


def _held_for_good(item: object) -> Iterable[object]:
    if isinstance(item, tuple | frozenset):
        return item
    if isinstance(item, partial):
        return item.func, *item.args, *item.keywords.values()
    if isinstance(item, types.MethodType):
        return item.__func__, item.__self__
    return ()


def _of_function(
    function: types.FunctionType,
    found: list[Watched],
    scopes: dict[int, tuple[dict[str, Any], set[str]]],
) -> Iterator[object]:
    """Note a function's cells and the global variables that it names; return what they hold."""
    if _is_library(function):
        return
    wrapped: object = getattr(function, "__wrapped__", None)
    yield from (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values(), wrapped)
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    if cells:
        found.append(_of_cells(function, cells))
        yield from found[-1].read().values()
    scope = function.__globals__
    names = {name for name in _names_in(function.__code__) if name in scope and _may_change(scope[name])}
    scopes.setdefault(id(scope), (scope, set()))[1].update(names)
    yield from (scope[name] for name in names)


def _names_in(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def _may_change(value: object) -> bool:
    if isinstance(value, type | types.ModuleType | types.BuiltinFunctionType):
        return False
    return not (isinstance(value, types.FunctionType) and _is_library(value))


def _of_cells(function: types.FunctionType, cells: Mapping[str, Any]) -> Watched:
    def read() -> dict[str, Any]:
        return {name: _in_cell(cell) for name, cell in cells.items()}

    def restore(old: Mapping[str, Any]) -> None:
        for name, value in old.items():
            if value is not _in_cell(cells[name]):
                cells[name].cell_contents = value

    return Watched(function, f"the closure of {function.__qualname__}", read, restore)


def _in_cell(cell: Any) -> Any:  # noqa: ANN401  (whatever a variable holds)
    try:
        return cell.cell_contents
    except ValueError:  # not set yet
        return None


def _of_scope(scope: dict[str, Any], names: Iterable[str]) -> Watched:
    names = sorted(names)

    def read() -> dict[str, Any]:
        return {name: scope.get(name) for name in names}

    return Watched(scope, f"module {scope.get('__name__', '')}", read, scope.update)


def _refill(mapping: dict[Any, Any], old: Mapping[Any, Any]) -> None:
    mapping.clear()
    mapping.update(old)


def _refill_sequence(sequence: list[Any] | set[Any], old: Mapping[Any, Any]) -> None:
    sequence.clear()
    if isinstance(sequence, list):
        sequence.extend(old.values())
    else:
        sequence.update(old.values())
