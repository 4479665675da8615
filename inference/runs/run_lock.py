"""A folder that one process at a time writes to."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from inference.json_and_csv import read_json, write_json

__all__ = ["held", "tidy"]

LOCK, HOLDER = ".lock", ".holder.json"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder for as long as the block lasts; the system lets go of it when the process ends, however it does.

    Both files are hidden: the empty ``.lock``, which stays, and ``.holder.json``, which says who holds it.

    Args:
        folder: The folder, which is there.

    Raises:
        ValueError: If another process holds it; says which, where, and since when.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"{folder} is being written by {_holder(folder)}; wait until it is done, or choose a new folder"
        ) from None
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(folder / HOLDER, {"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        yield
    finally:
        with suppress(OSError):
            (folder / HOLDER).unlink()
        lock.release()


def tidy(folder: Path) -> None:
    """Take away what a process that was killed has left of its hold on a folder that nobody holds now.

    Args:
        folder: The folder; it need not exist.
    """
    if not (folder / HOLDER).exists():
        return
    # One that this very process has is no less held.
    with suppress(OSError, RuntimeError, Timeout), FileLock(folder / LOCK, timeout=0):
        (folder / HOLDER).unlink(missing_ok=True)


def _holder(folder: Path) -> str:
    try:
        told = read_json(folder / HOLDER)
        return f"process {told['pid']} on {told['host']}, since {told['since']}"
    except (KeyError, OSError, ValueError):
        return "another process"  # which has taken the lock this very moment
