"""States of every ambient random generator: taken, restored, and seeded for a while."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["rng_state", "seed_ambient", "seeded", "set_rng_state"]


def rng_state() -> dict[str, Any]:
    """States of Python's, NumPy's and PyTorch's ambient generators, made of tensors and numbers only.

    A checkpoint with such a state loads under ``torch.load(weights_only=True)``.
    """
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002 - others' ambient state
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Restore what ``rng_state`` took; states of devices that are absent here are left out."""
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all([entry.cpu() for entry in state["cuda"]])
    if state["mps"] is not None and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"].cpu())


def seed_ambient(seed: int) -> None:
    """Seed every ambient generator.

    Args:
        seed: Non-negative, below ``2**32``.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - a user's transform may draw from it
    torch.manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every ambient generator inside of the block, and leave them as they were after it.

    Args:
        seed: Non-negative, below ``2**32``.
    """
    before = rng_state()
    try:
        seed_ambient(seed)
        yield
    finally:
        set_rng_state(before)
