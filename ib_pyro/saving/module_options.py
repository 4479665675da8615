"""What a program is made of, as far as plain values say it: classes and options of its modules."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from ib_pyro.plain_values import plain

__all__ = ["as_json", "difference_of", "options_of"]

PLAIN = (str, int, float, bool, type(None))
NO_OPTIONS = {"training"}
MOST_ENTRIES = 100
"""Entries of a mapping that is taken for an option."""


def options_of(modules: Mapping[str, nn.Module]) -> dict[str, dict[str, Any]]:
    """Return the class and the plain public attributes of every module, by its path.

    Args:
        modules: The outermost modules, by what stands before the paths within them.

    Returns:
        ``{path: {"class": name, "options": {attribute: value}}}``, as JSON has it: lists for tuples. Of a mapping,
        such as the likelihoods of several heads, it is what is plain in it.
    """
    described = {}
    for prefix, root in modules.items():
        for path, module in root.named_modules(remove_duplicate=False):
            public = {
                name: _plain_part(value)
                for name, value in vars(module).items()
                if not name.startswith("_") and name not in NO_OPTIONS
            }
            options = {name: as_json(value, name) for name, value in public.items() if _is_plain(value)}
            described[prefix + path] = {"class": type(module).__qualname__, "options": options}
    return described


def difference_of(
    file: Mapping[str, Any],
    program: Mapping[str, Any],
    *,
    sides: tuple[str, str] = ("in the file", "in the program"),
) -> str:
    """Return the first difference of two such descriptions; an option that one side does not know is none.

    Args:
        file: What was saved.
        program: What there is.
        sides: Words for the two.

    >>> def one(alpha):
    ...     return {"z1": {"class": "Noise", "options": {"alpha": alpha}}}
    >>> difference_of(one(0.5), one(0.7))
    'z1.alpha is 0.5 in the file and 0.7 in the program'
    >>> difference_of(one(0.5), one(0.5))
    ''
    """
    for path in [*file, *(path for path in program if path not in file)]:
        title = path or "the program"
        if path not in file or path not in program:
            return f"module {title} is {sides[path in program]} alone"
        mine, theirs = file[path], program[path]
        if mine["class"] != theirs["class"]:
            return f"module {title} is a {mine['class']} {sides[0]} and a {theirs['class']} {sides[1]}"
        for name, value in mine["options"].items():
            other = theirs["options"].get(name, value)
            if repr(other) != repr(value):  # NaN is no other value than NaN
                return f"{f'{path}.' if path else ''}{name} is {value!r} {sides[0]} and {other!r} {sides[1]}"
    return ""


def as_json(value: object, name: str) -> Any:  # noqa: ANN401 (whatever JSON has)
    """Return a value as JSON reads it back: lists for tuples.

    Args:
        value: Numbers, strings, None, and lists, tuples and mappings of such.
        name: What to call it.

    Raises:
        TypeError: If something else is in it, or a key is no string; says where.

    >>> as_json({"betas": (1e-3, 1e-2)}, "metadata")
    {'betas': [0.001, 0.01]}
    """
    value = plain(value)
    if isinstance(value, list | tuple):
        return [as_json(each, f"{name}[{i}]") for i, each in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{name}: its key {key!r} is no string, as JSON's are; pass str(...)")
        return {key: as_json(each, f"{name}[{key!r}]") for key, each in value.items()}
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if value is None:
        return None
    raise TypeError(
        f"{name}: JSON holds no {type(value).__name__}; pass numbers, strings, and lists or mappings of them"
    )


def _plain_part(value: object) -> object:
    """Return a value without NumPy's numbers, and of a mapping what is plain in it; no value of a large one.

    A vocabulary is data, and other mappings than dicts may read files.
    """
    if isinstance(value, Mapping) and not (isinstance(value, dict) and len(value) <= MOST_ENTRIES):
        return object()
    value = plain(value)
    if not isinstance(value, Mapping):
        return value
    parts = {key: _plain_part(each) for key, each in value.items() if isinstance(key, str)}
    return {key: each for key, each in parts.items() if _is_plain(each)}


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, Mapping):
        # One that is empty may be a cache that fills.
        return bool(value) and all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    return isinstance(value, PLAIN)
