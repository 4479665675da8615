"""The command line: a table of subcommands, and errors that fit on a line."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ib_pyro.choices import require_known
from ib_pyro.files import FULL
from inference.cli.called_as import SCRIPT, called_as
from inference.cli.commands import COMMANDS, build_parser
from inference.cli.importing import own_modules_importable
from inference.cli.signals import Interrupted, command_to_go_on, signals_interrupt

__all__ = ["COMMANDS", "main"]

# Our own code, whose warnings say all there is to say.
HERE = Path(__file__).parents[2]

# What bad input raises, here and in ib_pyro; anything else is a defect and keeps its traceback.
_USER_ERRORS = (FloatingPointError, OSError, ValueError)

# What the extra "inference" installs.
_EXTRA = ("filelock", "lightning", "tensorboard", "yaml")


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
        with signals_interrupt(), _warnings_on_a_line(), own_modules_importable():
            return _run([word for word in words if word != "--traceback"])
    except _USER_ERRORS as error:
        if traceback:
            raise
        full = isinstance(error, OSError) and error.errno in FULL
        way_out = "; make room there, and do it again" if full else ""
        print(f"error: {' '.join(str(error).split()) or type(error).__name__}{way_out}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if traceback or (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        command = " ".join([*called_as(), *words[:1]])
        print(f"error: {command} needs {error.name}; pip install 'ib-pyro[inference]'", file=sys.stderr)
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
    if words[0] == "--version":
        print(_version())
        return 0
    if not words[0].startswith("-"):
        require_known("subcommand", words[0], COMMANDS)
    parser, _ = build_parser()
    options = parser.parse_args(words)
    code: int = options.run(options)
    return code


def _version() -> str:
    """The version, and those that numbers depend on."""
    from ib_pyro import __version__
    from ib_pyro.provenance import versions

    others = versions("torch", "pyro-ppl", "lightning")
    return f"{SCRIPT} {__version__} ({', '.join(f'{name} {has}' for name, has in others.items() if has)})"
