"""The command line: a table of subcommands, and errors that fit on a line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from ib_pyro.choices import require_known
from inference.cli.arguments import Parser

__all__ = ["COMMANDS", "main"]

# A subcommand is a module with SUMMARY, add_arguments(parser) and run(options) -> exit code. Such a module
# imports what is slow (torch, lightning) inside of run, so that --help answers at once.
COMMANDS = {
    "fit": "inference.cli.fit",
    "sweep": "inference.cli.sweep",
    "evaluate": "inference.cli.evaluate",
    "compare": "inference.cli.compare",
    "demo": "inference.cli.demo",
    "bench": "inference.cli.bench",
    "paper": "inference.cli.paper",
}

# What bad input raises, here and in ib_pyro; anything else is a defect and keeps its traceback.
_USER_ERRORS = (FloatingPointError, OSError, ValueError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        arguments: Words of the command line; by default those of the process.

    Returns:
        Exit code: 0 if all went well, 1 if runs of several failed, 2 if the input was bad, 130 if interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    traceback = "--traceback" in words
    try:
        return _run([word for word in words if word != "--traceback"])
    except _USER_ERRORS as error:
        if traceback:
            raise
        print(f"error: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return 130


def _run(words: list[str]) -> int:
    if not words:
        raise ValueError(f"missing: a subcommand, one of {', '.join(COMMANDS)} (see --help)")
    if not words[0].startswith("-"):
        require_known("subcommand", words[0], COMMANDS)
    parser = Parser(
        prog="python -m inference",
        description="Fit Pyro programs and question them. Rates and distortions are in nats per sample.",
        epilog="With --traceback an error shows where it was raised.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for name, path in COMMANDS.items():
        module = import_module(path)
        sub = commands.add_parser(name, description=module.SUMMARY, help=module.SUMMARY)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    options = parser.parse_args(words)
    code: int = options.run(options)
    return code
