"""Modules called so that nothing of them changes: their buffers are put back afterwards."""

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.parameter import is_lazy

__all__ = ["buffers_kept", "modules_behind"]

LEAVES = Tensor, np.ndarray, Distribution, str, int, float, type, types.ModuleType, type(None)
LIBRARIES = "torch", "pyro", "numpy"


@contextmanager
def buffers_kept(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Run modules on copies of their buffers, such as the statistics that batch norm updates while it trains.

    The buffers themselves are not written to, so that a graph that has saved them can still be differentiated. A lazy
    module's, which are not there yet, are made and stay.

    Args:
        modules: Modules whose buffers, and those of all modules within them, are kept.

    Example:
        >>> norm = nn.BatchNorm1d(1)
        >>> with buffers_kept([norm]):
        ...     _ = norm(Tensor([[0.0], [2.0]]))
        >>> norm.running_mean
        tensor([0.])
    """
    owners = {owner for module in modules for owner in module.modules()}
    own = [
        (owner, name, b)
        for owner in owners
        for name, b in owner.named_buffers(recurse=False, remove_duplicate=False)
        if not is_lazy(b)
    ]
    # One copy of a buffer that several modules share.
    copies = {id(buffer): buffer.clone() for _, _, buffer in own}
    try:
        for owner, name, buffer in own:
            setattr(owner, name, copies[id(buffer)])
        yield
    finally:
        for owner, name, buffer in own:
            setattr(owner, name, buffer)


def modules_behind(*programs: Callable[..., Any]) -> tuple[nn.Module, ...]:
    """Return the modules that callables call, as far as that can be seen.

    That is a module itself, the object of a bound method, what ``functools.partial`` binds, and what a function finds
    in its closure, its defaults and, by name, among its globals; through attributes, lists and mappings.

    Args:
        *programs: Modules, methods or functions, such as a model and its guide.

    Example:
        >>> network = nn.Linear(1, 1)
        >>> modules_behind(lambda x: network(x)) == (network,)
        True
    """
    found: list[nn.Module] = []
    seen: dict[int, object] = {}
    todo: list[object] = list(programs)
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, LEAVES):
            continue
        seen[id(item)] = item  # held, so that its identity is not given to another
        if isinstance(item, nn.Module):
            found.append(item)
        else:
            todo.extend(_parts(item))
    return tuple(found)


def _parts(item: object) -> Iterable[object]:
    if isinstance(item, Mapping):
        return list(item.values())
    if isinstance(item, list | tuple | set | frozenset):
        return item
    if isinstance(item, functools.partial):
        return item.func, *item.args, *item.keywords.values()
    if isinstance(item, types.MethodType):
        return item.__func__, item.__self__
    if isinstance(item, types.FunctionType):
        if (item.__module__ or "").split(".")[0] in LIBRARIES:
            return ()
        try:
            names = inspect.getclosurevars(item)
        except ValueError:  # a variable of the closure is not set yet
            return ()
        kept = names.nonlocals, names.globals, item.__defaults__, item.__kwdefaults__
        return *kept, getattr(item, "__wrapped__", None)
    return list(vars(item).values()) if hasattr(item, "__dict__") else ()
