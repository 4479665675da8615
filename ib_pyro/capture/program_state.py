"""What a recorded computation took for granted: the attributes of the modules and objects behind it."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from operator import attrgetter, is_
from typing import Any, NamedTuple

from torch import Tensor, nn

from ib_pyro.capture.hooks import hooks_of
from ib_pyro.capture.watched import PLAIN, Watched, attributes_of, functions_of, watched_in

__all__ = ["Change", "ProgramState", "modules_within"]

KIND = attrgetter(
    "dtype", "shape", "requires_grad", "device", "_backward_hooks", "_post_accumulate_grad_hooks"
)


class Change(NamedTuple):
    """An attribute that has become another.

    Attributes:
        owner: Whose it is.
        title: What that is called.
        name: Its name.
        old: What it was.
        new: What it is.
    """

    owner: object
    title: str
    name: Any
    old: object
    new: object

    @property
    def is_harmless(self) -> bool:
        """Whether a program that makes this change on each run may be replayed.

        Objects made anew, such as a trace or a plate, say nothing; numbers and tensors do, unless the attribute is for
        internal use, as the caches of flows are.
        """
        if str(self.name).startswith("_"):
            return not isinstance(self.new, (*PLAIN, nn.Module))
        return _is_made_anew(self.old, self.new)

    def __str__(self) -> str:
        name = f".{self.name}" if isinstance(self.name, str) else f"[{self.name!r}]"
        return f"{self.title}{name} ({_short(self.old)} to {_short(self.new)})"


class ProgramState:
    """A snapshot of the attributes, submodules, parameters and buffers of modules, and of what they hold.

    Values of parameters and buffers are not part of it, but which tensors they are, their types, shapes and strides
    are. Lists, mappings and objects of the user's among the attributes are looked into, as are the variables that
    functions use; arrays, and objects of libraries, are the same as long as they are the same objects.

    Args:
        modules: The modules, each once.
        others: Objects and functions that count too.
        but_not: Attributes that do not, by the address of the owner and the name; by name alone for those of others.
    """

    def __init__(
        self,
        modules: Iterable[nn.Module],
        others: Iterable[object] = (),
        but_not: Iterable[str | tuple[int, str]] = (),
    ) -> None:
        self._modules = tuple(modules)
        self._skipped = frozenset(but_not)
        self._mappings = [mapping for _, mapping in self._owners()]
        self._tensors = [
            value
            for module in self._modules
            for value in (*module._parameters.values(), *module._buffers.values())
            if value is not None
        ]
        held = [value for module in self._modules for value in attributes_of(module)]
        functions = [function for module in self._modules for function in functions_of(module)]
        self._watched = [self._without_skipped(one) for one in watched_in([*others, *held, *functions])]
        self._hooks = hooks_of(self._modules, self._tensors)
        self._take()

    def still_holds(self) -> bool:
        """Whether nothing has changed since."""
        if not self._is_identical():
            if self.changes():
                return False
            self._take()  # equal numbers in other objects, or what does not count
        return self._kinds == _kinds(self._tensors) and self._hooked == list(chain.from_iterable(self._hooks))

    def changes(self) -> list[Change]:
        """Return what has changed, without what are equal numbers and what does not count."""
        found: list[Change] = []
        for (module, mapping), old in zip(self._owners(), self._held(), strict=True):
            found += _changes(module, type(module).__name__, old, mapping)
        for one, old in zip(self._watched, self._own, strict=True):
            found += _changes(one.owner, one.title, old, one.read())
        return [change for change in found if (id(change.owner), change.name) not in self._skipped]

    def put_back(self) -> None:
        """Make all that has changed what it was."""
        for mapping, old in zip(self._mappings, self._held(), strict=True):
            if list(mapping) != list(old) or not all(map(is_, mapping.values(), old.values())):
                mapping.clear()
                mapping.update(old)
        for one, old in zip(self._watched, self._own, strict=True):
            now = one.read()
            if list(now) != list(old) or not all(map(is_, now.values(), old.values())):
                one.restore(old)

    def _take(self) -> None:
        self._names = list(map(list, self._mappings))
        self._lengths = list(map(len, self._mappings))
        # Held, so that what replaces one of them is not at its address.
        self._values = list(chain.from_iterable(map(dict.values, self._mappings)))
        self._own = [dict(one.read()) for one in self._watched]
        self._kinds = _kinds(self._tensors)
        self._hooked = list(chain.from_iterable(self._hooks))

    def _held(self) -> Iterator[dict[str, Any]]:
        remaining = iter(self._values)
        return (dict(zip(names, islice(remaining, len(names)), strict=True)) for names in self._names)

    def _is_identical(self) -> bool:
        if self._lengths != list(map(len, self._mappings)):
            return False
        if not all(map(is_, chain.from_iterable(map(dict.values, self._mappings)), self._values)):
            return False
        for one, old in zip(self._watched, self._own, strict=True):
            now = one.read()
            if len(now) != len(old) or not all(map(is_, now.values(), old.values())):
                return False
        return True

    def _owners(self) -> Iterator[tuple[nn.Module, dict[str, Any]]]:
        for module in self._modules:
            for mapping in (module.__dict__, module._modules, module._parameters, module._buffers):
                yield module, mapping

    def _without_skipped(self, one: Watched) -> Watched:
        if self._skipped.isdisjoint(one.read()):
            return one

        def read() -> dict[Any, Any]:
            return {name: value for name, value in one.read().items() if name not in self._skipped}

        return one._replace(read=read, restore=lambda old: one.restore({**one.read(), **old}))


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


def _changes(owner: object, title: str, old: Mapping[Any, Any], new: Mapping[Any, Any]) -> list[Change]:
    if list(old) == list(new) and all(map(is_, old.values(), new.values())):
        return []
    return [
        Change(owner, title, name, old.get(name), new.get(name))
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


def _kinds(tensors: list[Tensor]) -> tuple[list[object], list[object]]:
    return list(map(KIND, tensors)), list(map(Tensor.stride, tensors))


def _short(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)[:60]
