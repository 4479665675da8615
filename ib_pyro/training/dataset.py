"""What a program is fitted to and evaluated on: inputs and what is observed of them, whole, as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

__all__ = ["Dataset", "Samples"]


class Dataset(Protocol):
    """What a program is fitted to: whole sets as tensors."""

    @property
    def x(self) -> Tensor:
        """Inputs, ``[N, ...]``."""

    @property
    def y(self) -> Tensor:
        """What is observed, ``[N, ...]``."""


@dataclass(frozen=True)
class Samples:
    """Inputs, and what is observed of them.

    Args:
        x: Inputs, ``[N, ...]``.
        y: What is observed, ``[N, ...]``.
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)
