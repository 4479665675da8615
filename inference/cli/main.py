"""The command line: a table of subcommands, and errors that fit on a line."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from ib_pyro.choices import require_known
from ib_pyro.files import FULL
from inference.cli.arguments import Parser
from inference.cli.signals import Interrupted, command_to_go_on, signals_interrupt

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

# Our own code, whose warnings say all there is to say.
HERE = Path(__file__).parents[2]

# What bad input raises, here and in ib_pyro; anything else is a defect and keeps its traceback.
_USER_ERRORS = (FloatingPointError, OSError, ValueError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        arguments: Words of the command line; by default those of the process.

    Returns:
        Exit code: 0 if all went well, 1 if runs of several failed, 2 if the input was bad, and of a signal 128 and its
        number: 130 of Ctrl-C, 143 of SIGTERM, 129 of SIGHUP.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    traceback = "--traceback" in words
    try:
        with signals_interrupt(), _warnings_on_a_line():
            return _run([word for word in words if word != "--traceback"])
    except _USER_ERRORS as error:
        if traceback:
            raise
        full = isinstance(error, OSError) and error.errno in FULL
        way_out = "; make room there, and do it again" if full else ""
        print(f"error: {' '.join(str(error).split()) or type(error).__name__}{way_out}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interruption:
        number = interruption.number if isinstance(interruption, Interrupted) else signal.SIGINT
        told = f"interrupted by {signal.Signals(number).name}; what was finished is kept; {command_to_go_on(words)}"
        print(told, file=sys.stderr)
        return 128 + number


@contextmanager
def _warnings_on_a_line() -> Iterator[None]:
    """Print a warning of ours as its message; others say where they come from, too."""
    with warnings.catch_warnings():
        show = warnings.formatwarning

        def formatted(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            line: str | None = None,
        ) -> str:
            ours = category is UserWarning and Path(filename).is_relative_to(HERE)
            return f"warning: {message}\n" if ours else show(message, category, filename, lineno, line)

        warnings.formatwarning = formatted
        try:
            yield
        finally:
            warnings.formatwarning = show


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
