"""Nearest names, for errors that say what the reader may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["require_known"]


def require_known(kind: str, name: str, known: Iterable[str]) -> str:
    """Return ``name`` if it is known, and name the nearest ones if it is not.

    Args:
        kind: What is named, in words (``"model"``).
        name: What was typed.
        known: The names that exist.

    Returns:
        The name itself.

    Raises:
        ValueError: If the name is unknown.

    >>> require_known("model", "mlp", ["mlp", "vae"])
    'mlp'
    >>> require_known("model", "mpl", ["mlp", "vae"])
    Traceback (most recent call last):
        ...
    ValueError: unknown model 'mpl'; nearest: mlp (known: mlp, vae)
    """
    known = sorted(known)
    if name in known:
        return name
    near = get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(near)} " if near else ""
    raise ValueError(f"unknown {kind} {name!r}; {hint}(known: {', '.join(known)})")
