"""Calls of a function with options that were typed, each held against its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

from ib_pyro.choices import nearest
from inference.runs.settings import Scalar, in_words, is_of

__all__ = ["call_with_options"]

# Kinds of values that can be typed; an argument with another annotation takes what it is given.
_TYPED = (bool, int, float, str)


def call_with_options(
    function: Callable[..., Any],
    offered: Mapping[str, Any],
    options: Mapping[str, Scalar],
    *,
    called: str,
    option: str,
) -> Any:  # noqa: ANN401 - what it returns
    """Call a function with what it takes.

    Args:
        function: The function.
        offered: Arguments that it is given if its signature names them.
        options: Arguments that were asked for by name: it must take them.
        called: What messages call it.
        option: The option that these were typed by.

    Raises:
        ValueError: If it does not take an option, or not such a value, or needs what nobody gave; if it raises.
    """
    parameters = inspect.signature(function).parameters
    _check_options(function, offered, options, called=called, option=option)
    given = {name: value for name, value in offered.items() if name in parameters} | dict(options)
    lacking = [name for name, entry in parameters.items() if _is_needed(entry) and name not in given]
    if lacking:
        told = ",".join(f"{name}=VALUE" for name in lacking)
        raise ValueError(f"{called} needs {', '.join(lacking)}; add {option} {told}")
    try:
        return function(**given)
    except Exception as error:
        told = " ".join(str(error).split())
        raise ValueError(
            f"{called} failed: {type(error).__name__}: {told} (--traceback shows where)"
        ) from error


def _check_options(
    function: Callable[..., Any],
    offered: Mapping[str, Any],
    options: Mapping[str, Scalar],
    *,
    called: str,
    option: str,
) -> None:
    parameters = inspect.signature(function).parameters
    takes = [
        name
        for name, entry in parameters.items()
        if entry.kind in (entry.POSITIONAL_OR_KEYWORD, entry.KEYWORD_ONLY)
    ]
    open_ended = any(entry.kind is entry.VAR_KEYWORD for entry in parameters.values())
    hints = _hints(function)
    for name, value in options.items():
        if name in offered:
            raise ValueError(f"{option} {name}={value}: {name} is given by the run itself; leave it out")
        if name not in takes and not open_ended:
            own = [each for each in takes if each not in offered]
            near = nearest(name, own)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"{option} {name}={value}: {called} takes {', '.join(own) or 'no options'}{meant}"
            )
        if name in hints and not is_of(value, hints[name]):
            raise ValueError(f"{option} {name}={value}: {name} takes {in_words(hints[name])}")


def _is_needed(entry: inspect.Parameter) -> bool:
    return entry.default is entry.empty and entry.kind not in (entry.VAR_KEYWORD, entry.VAR_POSITIONAL)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations that say which value of those that can be typed an argument takes."""
    try:
        hints = get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except (AttributeError, NameError, TypeError):
        return {}
    return {name: hint for name, hint in hints.items() if _can_be_typed(hint)}


def _can_be_typed(hint: Any) -> bool:  # noqa: ANN401 - an annotation
    if isinstance(hint, UnionType):
        return all(kind is NoneType or kind in _TYPED for kind in get_args(hint))
    return hint in _TYPED
