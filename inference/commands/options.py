"""Options of the command line from the fields of a configuration."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentTypeError
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
        kind = epoch_list if entry.name == "lr_drops" else hints[entry.name]
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
