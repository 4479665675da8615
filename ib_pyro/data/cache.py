"""Tensors kept on disk, so that they are computed once."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ib_pyro.tensor_files import load_tensors, save_tensors

__all__ = ["cached", "fingerprint", "save_atomically"]


def fingerprint(*parts: Tensor | str) -> str:
    """Return 16 hexadecimal digits that stand for the content of tensors and strings."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(f"{len(part)}:{part}".encode())
        else:
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            # As bytes: NumPy knows no bfloat16.
            digest.update(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def save_atomically(content: dict[str, Tensor], path: Path) -> None:
    """Write tensors to ``path`` such that a reader finds the whole file or none.

    Args:
        content: Tensors by name.
        path: Where to; its folder is made if it is missing.

    Raises:
        OSError: If the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(content, path)


def cached(
    path: Path,
    make: Callable[[], dict[str, Tensor]],
    is_right: Callable[[dict[str, Tensor]], bool] | None = None,
) -> dict[str, Tensor]:
    """Return the tensors kept at ``path``; make and keep them if there are none.

    What is read is mapped from disk, not copied into memory. A file that is damaged, be it by a bit, or holds
    something else is made anew; a folder that cannot be written costs a warning, not the result.

    Args:
        path: The file, whose name must stand for everything that ``make`` depends on.
        make: Computes the tensors.
        is_right: Whether what is read is what ``make`` would compute; to be cheap it may look at a sample of it. What
            it fails on (a missing tensor, another shape) is not.

    Returns:
        Tensors by name.
    """
    if path.is_file():
        try:
            content: dict[str, Tensor] = load_tensors(path, mmap=True)
        except (OSError, ValueError) as error:
            warnings.warn(f"{path}: cannot be read ({error}); making it anew", stacklevel=2)
        else:
            if is_right is None or _holds(is_right, content):
                return content
            warnings.warn(f"{path}: holds something else than it should; making it anew", stacklevel=2)
    content = make()
    try:
        save_atomically(content, path)
    except OSError as error:
        warnings.warn(
            f"{path}: cannot be kept ({error}), hence will be computed again; "
            "pass cache=DIR or set IB_PYRO_CACHE to a folder that can be written",
            stacklevel=2,
        )
    return content


def _holds(is_right: Callable[[dict[str, Tensor]], bool], content: dict[str, Tensor]) -> bool:
    try:
        return isinstance(content, dict) and is_right(content)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        return False
