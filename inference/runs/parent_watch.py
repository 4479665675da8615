"""A worker ends with its parent, however that ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection

__all__ = ["end_with_parent"]

_PR_SET_PDEATHSIG = 1


def end_with_parent(other_end: Connection, *, parent_lives_on: bool = True) -> None:
    """End this process as soon as its parent ends, by ``SIGKILL`` too, or closes its end of a pipe.

    Everything a run keeps is written whole or not at all, so that no moment is a bad one. An interrupt of
    the terminal, or its end, reaches all processes of the group at once; what to do then is up to the parent alone.

    Args:
        other_end: Receiving end of a pipe whose sending end nobody but the parent holds; nothing is ever sent.
        parent_lives_on: Whether the thread that started this process lasts as long as the parent: on Linux the kernel
            takes the one for the other.
    """
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if parent_lives_on and sys.platform == "linux":
        # The thread below must wait for the interpreter's lock; the kernel need not.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(other_end,), name="parent watch", daemon=True).start()


def _watch(other_end: Connection) -> None:
    with suppress(EOFError, OSError):
        other_end.recv_bytes()
    os._exit(1)
