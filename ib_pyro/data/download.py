"""Fetching a missing set, and saying what to do where that is not possible."""

from __future__ import annotations

import os
import threading
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["fetch", "missing", "unreachable"]

# Seconds for which a host may stay silent.
_TIMEOUT = 4.0


def unreachable(url: str, *, timeout: float = _TIMEOUT) -> str | None:
    """Return why ``url`` cannot be had, or None if it answers within ``timeout`` seconds."""
    outcome: list[str | None] = []

    def probe() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=timeout):
                outcome.append(None)
        except (OSError, ValueError) as error:
            outcome.append(str(error))

    # The name lookup heeds no timeout of urllib's, hence the thread.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(timeout)
    return outcome[0] if outcome else f"no answer within {timeout:g} s"


def fetch(root: Path, urls: Sequence[str], get: Callable[[Path], object]) -> str | None:
    """Fetch a set into ``root`` by ``get`` if one of ``urls`` answers.

    Args:
        root: Where to; it is made if it is missing.
        urls: One address for each mirror.
        get: Downloads into the folder it is given.

    Returns:
        Why it failed, or None if it did not.
    """
    reasons = {url: unreachable(url) for url in urls}
    if None not in reasons.values():
        return "; ".join(f"{url}: {reason}" for url, reason in reasons.items())
    nearest = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    if not os.access(nearest, os.W_OK):
        return f"{nearest} cannot be written"
    try:
        get(root)
    except (OSError, RuntimeError) as error:
        return str(error)
    return None


def missing(
    name: str, root: Path, files: Sequence[str], commands: Sequence[str], reason: str | None
) -> FileNotFoundError:
    """Return the error that says which files to put where, and by which commands.

    Args:
        name: The set.
        root: The data folder.
        files: What is missing: paths, or sentences about them.
        commands: Shell commands, any one of which brings them.
        reason: Why the download failed; None if it was not tried.
    """
    tried = "downloads are off (download=False)" if reason is None else f"the download failed: {reason}"
    lines = [
        f"root: {name!r} is not in {root}, and {tried}",
        "put there:",
        *(f"    {file}" for file in files),
        "any one of these brings them:",
        *(f"    {command}" for command in commands),
    ]
    return FileNotFoundError("\n".join(lines))
