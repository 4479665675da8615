"""One device, under the calls of ``lightning.fabric`` that a fit makes: what there is without that package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["OneDevice", "precision_of"]

# Under these a step is computed in the types of its tensors, whatever is around it.
PLAIN_PRECISIONS = ("32-true", "64-true", "bf16-true", "16-true")


class OneDevice:
    """Trains on one device, in the types that the program's parameters have.

    Args:
        device: The device; by default the accelerator that PyTorch finds, or else the CPU.
    """

    world_size = 1
    global_rank = 0
    is_global_zero = True

    def __init__(self, device: torch.device | str | None = None) -> None:
        self.device = _best() if device is None else torch.device(device)

    def setup(self, module: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        """Move a module to the device, and return it with its optimiser."""
        return module.to(self.device), optimizer

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to those of the parameters."""
        loss.backward()

    def log_dict(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log nothing: there is no logger."""


def _best() -> torch.device:
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def precision_of(devices: Fabric | OneDevice) -> str | None:
    """Return the name of a precision that casts or scales outside of the program; None where there is no such one."""
    if isinstance(devices, OneDevice):
        return None
    name = str(devices._precision.precision)
    return None if name in PLAIN_PRECISIONS else name
