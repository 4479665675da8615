"""What the records of a run share: settings that explain themselves, and checks that name the option typed.

A record and its checks import no torch, so that the command line answers ``--help`` at once; what a record builds is
imported when it is built.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["SiteValues", "flag", "plain", "require", "setting", "written"]

SiteValues = float | dict[str, float]
"""A number for every latent site, or one for each."""


def setting(default: Any, text: str, *, place: bool = False) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A field of a record, with its default and what ``--help`` says of it.

    Args:
        default: Its value where none is given.
        text: What it is.
        place: Whether it only says where a run lies and how it is watched: two runs that differ in nothing else are
            the same run.
    """
    return dataclasses.field(default=default, metadata={"help": text, "place": place})


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


def plain(value: object) -> object:
    """A setting as JSON knows it."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value) if isinstance(value, Path) else value


def written(values: SiteValues) -> str:
    """A number, or one for each site, in words.

    >>> written({"z1": 20.0, "z3": 5.0})
    'z1=20, z3=5'
    """
    if not isinstance(values, Mapping):
        return f"{values:g}"
    return ", ".join(f"{site}={value:g}" for site, value in values.items())
