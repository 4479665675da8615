"""What a recorded computation took for granted: the attributes of the modules and objects behind it."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from operator import is_
from typing import Any, NamedTuple

from torch import Tensor, nn

__all__ = ["Change", "ProgramState", "modules_within"]

PLAIN = str, int, float, bool, complex, type(None)


class Change(NamedTuple):
    """An attribute that has become another.

    Attributes:
        owner: Whose it is.
        name: Its name.
        old: What it was.
        new: What it is.
    """

    owner: object
    name: str
    old: object
    new: object

    @property
    def is_harmless(self) -> bool:
        """Whether a program that makes this change on each run may be replayed.

        Objects made anew, such as a trace or a plate, say nothing; numbers and tensors do, unless the attribute is for
        internal use, as the caches of flows are.
        """
        if self.name.startswith("_"):
            return not isinstance(self.new, (*PLAIN, nn.Module))
        return _is_made_anew(self.old, self.new)

    def __str__(self) -> str:
        return f"{type(self.owner).__name__}.{self.name} ({_short(self.old)} to {_short(self.new)})"


class ProgramState:
    """A snapshot of the attributes, submodules, parameters and buffers of modules, and of the attributes of objects.

    Values of parameters and buffers are not part of it, but which tensors they are, their types and their shapes are.
    A list, a mapping or another object among the attributes is the same as long as it is the same object.

    Args:
        modules: The modules, each once.
        others: Objects whose attributes count too.
        but_not: Attributes that do not, by the address of the owner and the name; by name alone for those of others.
    """

    def __init__(
        self,
        modules: Iterable[nn.Module],
        others: Iterable[object] = (),
        but_not: Iterable[str | tuple[int, str]] = (),
    ) -> None:
        self._modules, self._others = tuple(modules), tuple(others)
        self._skipped = frozenset(but_not)
        self._mappings = [mapping for _, mapping in self._owners()]
        self._tensors = [
            value
            for module in self._modules
            for value in (*module._parameters.values(), *module._buffers.values())
            if value is not None
        ]
        self._take()

    def still_holds(self) -> bool:
        """Whether nothing has changed since."""
        if not self._is_identical():
            if self.changes():
                return False
            self._take()  # equal numbers in other objects, or what does not count
        return all(map(_is_kind, self._tensors, self._kinds))

    def changes(self) -> list[Change]:
        """Return what has changed, without what are equal numbers and what does not count."""
        remaining, found = iter(self._values), []
        for (module, mapping), names in zip(self._owners(), self._names, strict=True):
            old = dict(zip(names, remaining, strict=False))
            found += [change for change in _changes(module, old, mapping) if not self._skips(change)]
        for other, old in zip(self._others, self._own, strict=True):
            found += _changes(other, old, self._attributes(other))
        return found

    def _take(self) -> None:
        self._names = list(map(list, self._mappings))
        self._lengths = list(map(len, self._mappings))
        # Held, so that what replaces one of them is not at its address.
        self._values = list(chain.from_iterable(map(dict.values, self._mappings)))
        self._own = [self._attributes(other) for other in self._others]
        self._kinds = [_kind(tensor) for tensor in self._tensors]

    def _is_identical(self) -> bool:
        if self._lengths != list(map(len, self._mappings)):
            return False
        values = chain.from_iterable(map(dict.values, self._mappings))
        if not all(map(is_, values, self._values)):
            return False
        return not any(
            _changes(other, old, self._attributes(other))
            for other, old in zip(self._others, self._own, strict=True)
        )

    def _owners(self) -> Iterator[tuple[nn.Module, dict[str, Any]]]:
        for module in self._modules:
            for mapping in (module.__dict__, module._modules, module._parameters, module._buffers):
                yield module, mapping

    def _attributes(self, other: object) -> dict[str, Any]:
        return {name: value for name, value in vars(other).items() if name not in self._skipped}

    def _skips(self, change: Change) -> bool:
        return (id(change.owner), change.name) in self._skipped


def modules_within(roots: Iterable[nn.Module]) -> list[nn.Module]:
    """Return modules, those inside of them, and those that they hold as plain attributes, each once."""
    found: dict[int, nn.Module] = {}
    todo = list(roots)
    while todo:
        module = todo.pop(0)
        if id(module) in found:
            continue
        found[id(module)] = module
        held = (*module._modules.values(), *module.__dict__.values())
        todo.extend(value for value in held if isinstance(value, nn.Module))
    return list(found.values())


def _changes(owner: object, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    if old.keys() == new.keys() and all(map(is_, old.values(), new.values())):
        return []
    return [
        Change(owner, name, old.get(name), new.get(name))
        for name in {**old, **new}
        if old.get(name) is not new.get(name) and not _is_equal(old.get(name), new.get(name))
    ]


def _is_equal(old: object, new: object) -> bool:
    """Whether two objects are the same number, text or tuple of these."""
    if type(new) is not type(old):
        return False
    if isinstance(old, tuple) and isinstance(new, tuple):
        return len(old) == len(new) and all(a is b or _is_equal(a, b) for a, b in zip(old, new, strict=True))
    return isinstance(old, PLAIN) and bool(new == old)


def _is_made_anew(old: object, new: object) -> bool:
    """Whether an object was replaced by another of its kind, with no numbers or tensors in view that differ."""
    if type(new) is not type(old) or isinstance(new, Tensor | nn.Module):
        return False
    if isinstance(old, dict) and isinstance(new, dict):
        same_keys = list(old) == list(new)
        return same_keys and all(
            a is b or _is_made_anew(a, b) for a, b in zip(old.values(), new.values(), strict=True)
        )
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        return len(old) == len(new) and all(
            a is b or _is_made_anew(a, b) for a, b in zip(old, new, strict=True)
        )
    return not isinstance(old, PLAIN) or _is_equal(old, new)


def _kind(tensor: Tensor) -> tuple[object, ...]:
    return tensor.dtype, tensor.shape, tensor.requires_grad, tensor.device


def _is_kind(tensor: Tensor, kind: tuple[object, ...]) -> bool:
    dtype, shape, requires_grad, device = kind
    return (
        tensor.dtype is dtype
        and tensor.shape == shape
        and tensor.requires_grad is requires_grad
        and tensor.device == device
    )


def _short(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)[:60]
