"""Which code and which versions a run was made with."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["revision", "versions"]

_PACKAGES = ("ib-pyro", "torch", "pyro-ppl", "lightning", "numpy")


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that a fit's numbers depend on; None where one is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def revision() -> dict[str, Any] | None:
    """Commit of the repository that this code lies in, and whether files of it were changed since.

    Returns:
        ``{"commit": ..., "dirty": ...}``, or None outside of a repository or without git.
    """
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no"))}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
