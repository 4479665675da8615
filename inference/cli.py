"""The command line: a table of subcommands, and errors that fit on a line."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from jsonargparse import ArgumentError, ArgumentParser

from inference.names import require_known

__all__ = ["COMMANDS", "main"]

# A subcommand is a module with SUMMARY, add_arguments(parser) and run(options) -> exit code. Such a module imports
# what is slow (torch, lightning) inside of run, so that --help answers at once.
COMMANDS = {
    "fit": "inference.commands.fit",
    "evaluate": "inference.commands.evaluate",
    "demo": "inference.commands.demo",
    "bench": "inference.commands.bench",
}

# What bad input raises, here and in ib_pyro; anything else is a defect and keeps its traceback.
_USER_ERRORS = (ArgumentError, FloatingPointError, OSError, ValueError)


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
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return 130


def _run(words: list[str]) -> int:
    if words and not words[0].startswith("-"):
        require_known("subcommand", words[0], COMMANDS)
    modules = {name: import_module(path) for name, path in COMMANDS.items()}
    options = _parser(modules).parse_args(words)
    code: int = modules[options.command].run(options[options.command])
    return code


def _parser(modules: dict[str, ModuleType]) -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m inference",
        description="Fit Pyro programs and question them. Rates and distortions are in nats per sample.",
        epilog="With --traceback an error shows where it was raised.",
        exit_on_error=False,
    )
    commands = parser.add_subcommands(required=True, dest="command")
    for name, module in modules.items():
        sub = ArgumentParser(exit_on_error=False, description=module.SUMMARY)
        module.add_arguments(sub)
        commands.add_subcommand(name, sub, help=module.SUMMARY)
    return parser


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if not isinstance(error, ArgumentError):
        return text or type(error).__name__
    text = re.sub(r'Parser key "([\w.]+)": ?', lambda match: f"{_flag(match[1])}: ", text)
    text = re.sub(r"<class '([\w.]+)'>", r"\1", text)
    required = re.match(r"the following arguments are required: (.+)", text)
    if required:
        return f"{', '.join(_flag(name.strip()) for name in required[1].split(','))} is required"
    return text


def _flag(name: str) -> str:
    return "--" + name.split(".")[-1].replace("_", "-")
