"""Options of the command line from the fields of a configuration."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any, get_type_hints

from jsonargparse import ArgumentParser, Namespace

from inference.config import FitConfig

__all__ = ["add_fit_options", "fit_config"]


def add_fit_options(parser: ArgumentParser) -> None:
    """Add an option for each field of `FitConfig`, with dashes for underscores."""
    hints = get_type_hints(FitConfig)
    for entry in dataclasses.fields(FitConfig):
        required = entry.default is dataclasses.MISSING
        extra: dict[str, Any] = {"required": True} if required else {"default": entry.default}
        kind = _READERS.get(entry.name, hints[entry.name])
        parser.add_argument(
            f"--{entry.name.replace('_', '-')}", type=kind, help=entry.metadata["help"], **extra
        )


def fit_config(options: Namespace) -> FitConfig:
    """Build the configuration that the options describe."""
    names = [entry.name for entry in dataclasses.fields(FitConfig)]
    return FitConfig(**{name: getattr(options, name) for name in names})


def epoch_list(text: str | list[int]) -> tuple[int, ...]:
    """Read ``40,60``; a list, as in a file of settings, is taken as it is."""
    parts = text.split(",") if isinstance(text, str) else text
    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        raise ArgumentTypeError(f"takes epochs such as 40,60; got {text}") from None


def site_values(text: str | float | dict[str, float]) -> float | dict[str, float]:
    """Read ``20`` or ``z1=20,z3=5``; what a file of settings has is taken as it is."""
    if isinstance(text, dict):
        return {site: float(value) for site, value in text.items()}
    try:
        if "=" not in str(text):
            return float(text)
        pairs = [part.split("=") for part in str(text).split(",")]
        return {site.strip(): float(value) for site, value in pairs}
    except ValueError:
        raise ArgumentTypeError(
            f"takes a number, or one for each site such as z1=20,z3=5; got {text}"
        ) from None


def site_factors(text: str | dict[str, float]) -> dict[str, float]:
    """Read ``z1=0.5,z3=2``; what a file of settings has is taken as it is."""
    values = site_values(text)
    if not isinstance(values, dict):
        raise ArgumentTypeError(f"takes a factor for each site such as z1=0.5,z3=2; got {text}")
    return values


class _Reader:
    """A function that reads an option, with a name for ``--help``."""

    def __init__(self, name: str, read: Callable[[Any], Any]) -> None:
        self._name, self._read = name, read

    def __call__(self, text: Any) -> Any:  # noqa: ANN401 - what was typed, or what a file of settings has
        return self._read(text)

    def __str__(self) -> str:
        return self._name


# How to read what has no type that jsonargparse could read it by.
_READERS = {
    "beta_factors": _Reader("site=number,...", site_factors),
    "capacity": _Reader("number, or site=number,...", site_values),
    "free_nats": _Reader("number, or site=number,...", site_values),
    "gamma": _Reader("number, or site=number,...", site_values),
    "lr_drops": _Reader("epoch,...", epoch_list),
}
