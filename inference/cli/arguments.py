"""Arguments of the command line: readers by type, the settings of a run as options, and errors as they are typed."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn, get_args, get_type_hints

from ib_pyro.choices import nearest
from inference.runs.settings import Scalar, SiteValues, flag
from inference.runs.spec import PARTS, entries

__all__ = ["Parser", "Reader", "add_settings", "setting_reader", "typed", "whole_numbers"]

Reader = Callable[[Any], Any]


class Parser(argparse.ArgumentParser):
    """A parser that raises ``ValueError`` with a line, in place of printing its usage and leaving the process."""

    def __init__(self, **options: Any) -> None:
        options = {"allow_abbrev": False, "exit_on_error": False, **options}
        super().__init__(**options)
        self.known: dict[str, list[str]] = {}
        self._needed: list[argparse.Action] = []

    @property
    def options(self) -> list[str]:
        """All options, as they are typed."""
        return [name for name in self._option_string_actions if name.startswith("--")]

    def add_argument(self, *names: Any, known: Iterable[str] = (), **options: Any) -> argparse.Action:  # noqa: ANN401
        """Add an argument as argparse does, whose help says its default.

        Args:
            *names: See argparse.
            known: Names that it may have as its value; others are refused, if at all, by who reads it.
            **options: See argparse.
        """
        if known:
            self.known[names[-1]] = list(known)
        default, text = options.get("default"), options.get("help")
        if default not in (None, False, argparse.SUPPRESS) and text and "default" not in text:
            options["help"] = f"{text} (default: %(default)s)"
        return super().add_argument(*names, **options)

    def add_needed(self, *names: str, **options: Any) -> None:
        """Add an argument that must be given."""
        self._needed.append(self.add_argument(*names, **options))

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, and say of what is wrong the option and the value."""
        if self._needed:
            self.usage = self.format_usage().partition(": ")[2].strip()
        for action in self._needed:
            # Asked for below, in our words.
            action.required = False
            action.nargs = "*" if action.nargs == "+" else "?" if not action.option_strings else action.nargs
        try:
            found, rest = super().parse_known_args(args, namespace)
        except argparse.ArgumentError as error:
            raise ValueError(" ".join(filter(None, [error.argument_name, error.message]))) from error
        if rest:
            raise ValueError(f"unrecognized arguments: {' '.join(rest)}{self._meant(rest)}")
        lacking = [a for a in self._needed if getattr(found, a.dest) in (None, [])]
        if lacking:
            names = [a.option_strings[-1] if a.option_strings else a.metavar or a.dest for a in lacking]
            raise ValueError(f"missing: {', '.join(names)} (see --help)")
        return found, rest

    def _meant(self, words: Sequence[str]) -> str:
        """Ask whether options are meant that are written much like those that are none."""
        known = [name.removeprefix("--") for name in self.options]
        typed = [word.partition("=")[0].removeprefix("--") for word in words if word.startswith("--")]
        meant = [f"--{name}" for word in typed for name in nearest(word, known)[:1]]
        return f"; did you mean {', '.join(meant)}?" if meant else ""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise ValueError(f"{message} (see --help)")


@dataclasses.dataclass(frozen=True)
class typed:  # noqa: N801 - it is called where argparse is given a type
    """A reader of options that says what they take.

    Args:
        kind: What an option takes, in words.
        read: Reads what was typed, or what a file of settings holds; raises ``ValueError``, or ``TypeError``.
    """

    kind: str
    read: Reader

    def __call__(self, value: Any) -> Any:  # noqa: ANN401 - what was typed, or what a file of settings holds
        """Read a value."""
        try:
            return self.read(value)
        except (OverflowError, TypeError, ValueError):
            raise argparse.ArgumentTypeError(f"takes {self.kind}; got {value}") from None


def add_settings(parser: Parser) -> None:
    """Add an option for each setting of a run, with dashes for underscores; what is not given is left out."""
    groups = {part: parser.add_argument_group(part) for part in PARTS}
    for part, entry in entries():
        reader = setting_reader(entry.name)
        metavar = reader.kind.upper() if " " not in reader.kind else entry.name.upper()
        text = entry.metadata["help"]
        shown = "" if "default:" in text or entry.default is None else f" (default: {entry.default})"
        groups[part].add_argument(
            flag(entry.name), type=reader, default=argparse.SUPPRESS, metavar=metavar, help=f"{text}{shown}"
        )
        known = ("true", "false") if reader is _READERS[bool] else entry.metadata["known"]
        if known:
            parser.known[flag(entry.name)] = list(known)


def setting_reader(name: str) -> typed:
    """How a setting of a run is read, by its annotation."""
    part = next(part for part, entry in entries() if entry.name == name)
    return _reader(get_type_hints(PARTS[part])[name])


def whole_numbers(value: Any) -> tuple[int, ...]:  # noqa: ANN401
    """Read ``40,60``, or take a list as it is.

    >>> whole_numbers("40,60"), whole_numbers([])
    ((40, 60), ())
    """
    parts = value.strip("[] ").split(",") if isinstance(value, str) else value
    return tuple(_whole(part) for part in parts if str(part).strip())


def _reader(hint: Any) -> typed:  # noqa: ANN401 - an annotation
    if hint in _READERS:
        return _READERS[hint]
    if isinstance(hint, UnionType) and type(None) in get_args(hint):
        rest = [kind for kind in get_args(hint) if kind is not type(None)]
        inner = _READERS[rest[0] if len(rest) == 1 else SiteValues]
        return typed(inner.kind, lambda value: None if value in (None, "null", "None") else inner(value))
    raise TypeError(f"no reader of {hint}")


def _yes_or_no(value: Any) -> bool:  # noqa: ANN401
    words = {"true": True, "yes": True, "false": False, "no": False}
    if str(value).lower() not in words:
        raise ValueError
    return words[str(value).lower()]


def _whole(value: Any) -> int:  # noqa: ANN401
    if isinstance(value, bool) or (isinstance(value, float) and value != int(value)):
        raise ValueError
    return int(value)


def _number(value: Any) -> float:  # noqa: ANN401
    if isinstance(value, bool):
        raise ValueError
    return float(value)


def _sites(value: Any) -> float | dict[str, float]:  # noqa: ANN401
    if isinstance(value, Mapping):
        return {str(site): _number(number) for site, number in value.items()}
    if "=" not in str(value):
        return _number(value)
    pairs = [part.split("=") for part in str(value).split(",")]
    found = {site.strip(): float(number) for site, number in pairs}
    if len(found) < len(pairs):
        raise ValueError  # a site twice
    return found


def _factors(value: Any) -> dict[str, float]:  # noqa: ANN401
    found = _sites(value)
    if not isinstance(found, dict):
        raise ValueError
    return found


def _options(value: Any) -> dict[str, Scalar]:  # noqa: ANN401
    if isinstance(value, Mapping):
        return {str(name): _plain_scalar(each) for name, each in value.items()}
    found: dict[str, Scalar] = {}
    for part in str(value).split(","):
        name, equals, word = part.partition("=")
        if not equals or not name.strip().isidentifier() or name.strip() in found:
            raise ValueError
        found[name.strip()] = _scalar(word.strip())
    return found


def _plain_scalar(value: Scalar) -> Scalar:
    """Read what YAML takes for text, since it has no point, or no sign behind it: 1e-05, 1.5e3."""
    is_number = isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", value)
    return float(value) if is_number else value


def _scalar(word: str) -> Scalar:
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


_READERS: dict[Any, typed] = {
    bool: typed("true or false", _yes_or_no),
    float: typed("float", _number),
    int: typed("int", _whole),
    str: typed("str", str),
    Path: typed("path", Path),
    tuple[int, ...]: typed("epochs such as 40,60", whole_numbers),
    SiteValues: typed("a number, or one for each site such as z1=20,z3=5", _sites),
    dict[str, Scalar]: typed("options such as width=32,norm=true", _options),
    dict[str, float]: typed("a factor for each site such as z1=0.5,z3=2", _factors),
}
