"""What one call of :func:`load` asks of the reader of a set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Part", "Request", "cache_folder", "data_root"]

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Request:
    """A set's training pool or test images, and the means to get them.

    Args:
        name: The set.
        part: The training pool or the test images.
        root: Folder with the downloaded sets; only read, but for downloads.
        cache: Folder for what is decoded or generated.
        download: Whether to fetch a set that is missing.
        seed: Fixes a generated set.
        whole: Whether all images are asked for, so that it pays to generate them all and keep them.
    """

    name: str
    part: Part
    root: Path | None
    cache: Path
    download: bool = True
    seed: int = 0
    whole: bool = True

    def require_root(self) -> Path:
        """Return the root, which most sets cannot do without.

        Raises:
            ValueError: If no root was given.
        """
        if self.root is None:
            raise ValueError(
                f"root: {self.name!r} needs a folder with its data; pass root=DIR or set the environment "
                "variable IB_PYRO_DATA (only 'digits' comes without one)"
            )
        return self.root


def data_root(root: str | os.PathLike[str] | None) -> Path | None:
    """Return the data folder: the argument, else the environment variable IB_PYRO_DATA, else None."""
    chosen = root if root is not None else os.environ.get("IB_PYRO_DATA") or None
    return None if chosen is None else Path(chosen).expanduser()


def cache_folder(cache: str | os.PathLike[str] | None) -> Path:
    """Return the cache folder: the argument, else IB_PYRO_CACHE, else ``ib_pyro`` among the user's caches."""
    chosen = cache if cache is not None else os.environ.get("IB_PYRO_CACHE") or None
    if chosen is not None:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ib_pyro"
