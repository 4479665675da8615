"""The command line: a table of subcommands, and errors that fit on a line."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from inference.names import require_known

__all__ = ["COMMANDS", "main"]

# A subcommand is a module with SUMMARY, add_arguments(parser) and run(options) -> exit code. Such a module
# imports what is slow (torch, lightning) inside of run, so that --help answers at once.
COMMANDS = {
    "fit": "inference.commands.fit",
    "evaluate": "inference.commands.evaluate",
    "compare": "inference.commands.compare",
    "demo": "inference.commands.demo",
    "bench": "inference.commands.bench",
    "paper": "inference.commands.paper",
}

# What bad input raises, here and in ib_pyro; anything else is a defect and keeps its traceback.
_USER_ERRORS = (FloatingPointError, OSError, ValueError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        arguments: Words of the command line; by default those of the process.

    Returns:
        Exit code: 0 if all went well, 2 if the input was bad, 130 if interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    traceback = "--traceback" in words
    try:
        return _run([word for word in words if word != "--traceback"])
    except _USER_ERRORS as error:
        if traceback:
            raise
        print(f"error: {error or type(error).__name__}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return 130


def _run(words: list[str]) -> int:
    if words and not words[0].startswith("-"):
        require_known("subcommand", words[0], COMMANDS)
    modules = {name: import_module(path) for name, path in COMMANDS.items()}
    options = _parse(words, modules)
    code: int = modules[options.command].run(options[options.command])
    return code


def _parse(words: list[str], modules: dict[str, ModuleType]) -> Namespace:
    parser = ArgumentParser(
        prog="python -m inference",
        description="Fit Pyro programs and question them. Rates and distortions are in nats per sample.",
        epilog="With --traceback an error shows where it was raised.",
        exit_on_error=False,
    )
    commands = parser.add_subcommands(required=True, dest="command")
    flags: dict[str, str] = {}
    for name, module in modules.items():
        sub = ArgumentParser(exit_on_error=False, description=module.SUMMARY)
        module.add_arguments(sub)
        flags |= {action.dest: (action.option_strings or [action.dest])[-1] for action in sub._actions}
        commands.add_subcommand(name, sub, help=module.SUMMARY)
    try:
        return parser.parse_args(words)
    except ArgumentError as error:
        raise ValueError(_one_line(str(error), flags)) from error


def _one_line(text: str, flags: dict[str, str]) -> str:
    """Say in one line what jsonargparse says in several, with the options as they are typed."""
    text = re.sub(r"<class '([\w.]+)'>", r"\1", " ".join(text.split()))
    text = text.removeprefix("argument ")
    match = re.match(r'Parser key "([\w.]+)": ?(.*)', text)
    if match:
        flag = flags.get(match[1].split(".")[-1], match[1])
        wrong = re.search(
            r"(?:Subtypes: \[(.+?)\]|Expected an? ([\w.]*\w)).*(?:Given|Got) value: (.+)$", match[2]
        )
        if wrong:
            kind = (wrong[1] or wrong[2]).removesuffix(", NoneType")
            return f"{flag} takes {kind}; got {wrong[3]}"
        return f"{flag}: {match[2]}"
    match = re.match(r"the following arguments are required: (.+)", text)
    if match:
        names = [name.strip().split(".")[-1] for name in match[1].split(",")]
        return f"missing: {', '.join(flags.get(name, name) for name in names)} (see --help)"
    if "but it was not provided" in text:
        return f"missing: a subcommand, one of {', '.join(COMMANDS)} (see --help)"
    return text
