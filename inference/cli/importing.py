"""The user's own modules beside ours: what the current folder holds is found, and stands in no one's way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["own_modules_importable"]

ROOMS = Path(__file__).parents[2]


@contextmanager
def own_modules_importable() -> Iterator[None]:
    """Let the modules of the current folder be imported inside of the block, here and in processes started there.

    They come after all others: a ``models.py`` of the user's own, which ``python -m`` would put before ours, changes
    nothing. In a checkout of ib_pyro, which has ours in it, everything stays as it is.
    """
    here, before = Path.cwd(), list(sys.path)
    if here.resolve() != ROOMS.resolve():
        sys.path[:] = [*(folder for folder in before if folder not in ("", str(here))), str(here)]
    try:
        yield
    finally:
        sys.path[:] = before
