"""Signals that end a process: each is an interruption, after which what was finished is there to go on with."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from inference.cli.called_as import called_as

__all__ = ["Interrupted", "command_to_go_on", "signals_interrupt"]

# What a job's time limit, a terminal that goes away, and a key send. Windows has no SIGHUP.
NAMES = ("SIGTERM", "SIGHUP", "SIGINT")
# Commands that find by themselves what is done. What others do takes no checkpoint.
GO_ON = ("demo", "paper", "sweep")


class Interrupted(KeyboardInterrupt):
    """A signal has come.

    Args:
        number: Which.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Raise ``Interrupted`` inside of the block when a signal comes that would end the process.

    One that is ignored, as under ``nohup``, stays so. Outside of the main thread, where Python allows no handlers,
    nothing changes. Where a library makes another error of the interruption, as an import that is cut short does, what
    leaves the block is ``Interrupted`` all the same.
    """
    before = {}
    came: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        raise Interrupted(number)

    if threading.current_thread() is threading.main_thread():
        for name in NAMES:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    except Exception as error:
        if came:
            raise Interrupted(came[0]) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def command_to_go_on(words: Sequence[str]) -> str:
    """Return the command that goes on with what another one began.

    >>> command_to_go_on(["fit", "--out", "my runs/a", "--beta", "1"])
    "go on with: python -m inference fit --out 'my runs/a' --beta 1 --resume"
    """
    resume = ["--resume"] if words[:1] == ["fit"] and "--resume" not in words else []
    what = "go on with" if words and words[0] in ("fit", *GO_ON) else "start again with"
    return f"{what}: {shlex.join([*called_as(), *words, *resume])}"
