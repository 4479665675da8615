"""What the records of a run share: settings that explain themselves, and checks that name the option typed.

A record and its checks import no torch, so that the command line answers ``--help`` at once; what a record builds is
imported when it is built.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

__all__ = [
    "Scalar",
    "SiteValues",
    "flag",
    "in_words",
    "is_of",
    "plain",
    "require",
    "require_finite_options",
    "require_type",
    "setting",
    "shown",
    "written",
]

# Kinds of settings, in words.
WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a name", Path: "a path"}

SiteValues = float | dict[str, float]
"""A number for every latent site, or one for each."""

Scalar = bool | int | float | str
"""What can be typed as the value of an option of a function of one's own."""


def setting(default: Any, text: str, *, place: bool = False, known: Iterable[str] = ()) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A field of a record, with its default and what ``--help`` says of it.

    Args:
        default: Its value where none is given.
        text: What it is.
        place: Whether it only says where a run lies and how it is watched: two runs that differ in nothing else are
            the same run.
        known: Names that it may have as its value, for who completes words.
    """
    return dataclasses.field(default=default, metadata={"help": text, "place": place, "known": tuple(known)})


def flag(name: str) -> str:
    """A setting as it is typed.

    >>> flag("batch_size")
    '--batch-size'
    """
    return f"--{name.replace('_', '-')}"


def require(holds: bool, name: str, value: object, wanted: str) -> None:
    """Refuse a value.

    Raises:
        ValueError: If ``holds`` is false; it names the option, what it must be, and the value.
    """
    if not holds:
        raise ValueError(f"{flag(name)} must be {wanted}; got {value}")


def require_finite_options(name: str, options: Mapping[str, Scalar] | None) -> None:
    """Refuse a number that no JSON holds among the options of a function of one's own.

    Args:
        name: The setting.
        options: The options.

    Raises:
        ValueError: Names the option and its value.
    """
    for option, value in (options or {}).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(
                f"{flag(name)}: {option}={value} is not finite, which config.json cannot keep; let the function take "
                "another word for it, such as none"
            )


def require_type(name: str, value: object, hint: Any) -> None:  # noqa: ANN401 - an annotation
    """Refuse a value of another type than its field's.

    Args:
        name: The setting.
        value: Its value, as Python or JSON have it.
        hint: Annotation of the field.

    Raises:
        ValueError: If it is of another type; it names the option, what it takes, and the value.
    """
    if not is_of(value, hint):
        raise ValueError(f"{flag(name)} takes {in_words(hint)}; got {value!r}")


def is_of(value: object, hint: Any) -> bool:  # noqa: ANN401
    """Whether a value is of the type that an annotation asks for; whole numbers are numbers, truth values are not."""
    if isinstance(hint, UnionType):
        return any(is_of(value, kind) for kind in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(is_of(item, get_args(hint)[0]) for item in value)
    if get_origin(hint) is dict:
        key, item = get_args(hint)
        return isinstance(value, Mapping) and all(is_of(k, key) and is_of(v, item) for k, v in value.items())
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, {int: Integral, float: Real}.get(hint, hint))


def in_words(hint: Any) -> str:  # noqa: ANN401
    """What an annotation asks for, in words."""
    if isinstance(hint, UnionType):
        return " or ".join(in_words(kind) for kind in get_args(hint) if kind is not type(None))
    if get_origin(hint) is tuple:
        return "whole numbers"
    if get_origin(hint) is dict:
        return "options by their names" if get_args(hint)[1] == Scalar else "a number for each site"
    return WORDS[hint]


def plain(value: object) -> object:
    """A setting as JSON knows it."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value) if isinstance(value, Path) else value


def shown(value: object) -> str:
    """A setting in a line: options by their names as they are typed, anything else as it is.

    >>> shown({"width": 32, "norm": True}), shown(None)
    ('width=32,norm=true', 'None')
    """
    if not isinstance(value, Mapping):
        return str(value)
    words = {name: str(each).lower() if isinstance(each, bool) else str(each) for name, each in value.items()}
    return ",".join(f"{name}={word}" for name, word in words.items())


def written(values: SiteValues) -> str:
    """A number, or one for each site, in words.

    >>> written({"z1": 20.0, "z3": 5.0})
    'z1=20, z3=5'
    """
    if not isinstance(values, Mapping):
        return f"{values:g}"
    return ", ".join(f"{site}={value:g}" for site, value in values.items())
