"""Activations by name."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ib_pyro.choices import require_known

__all__ = ["ACTIVATIONS", "resolve_activation"]


def _identity(h: Tensor) -> Tensor:
    return h


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "exponential": torch.exp,
    "identity": _identity,
    "relu": F.relu,
    "softplus": F.softplus,
}


def resolve_activation(activation: str | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the activation of that name, or the function itself.

    Raises:
        ValueError: If the name is unknown.
    """
    if callable(activation):
        return activation
    return ACTIVATIONS[require_known("activation=", activation, ACTIVATIONS, otherwise="pass a function")]
