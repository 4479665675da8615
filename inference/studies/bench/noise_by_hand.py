"""Log-normal noise and its rate, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["noisy"]

ALPHA_MIN, ALPHA_MAX = 1e-3, 0.7


def noisy(f: Tensor, logits: Tensor, *, atom: bool) -> tuple[Tensor, Tensor]:
    """Multiply activations by log-normal noise.

    Args:
        f: Activations, ``[B, ...]``, non-negative.
        logits: What the noise's scale is squashed from, of the same shape.
        atom: Charge nothing for units that are off: they are the prior's atom, which is free.

    Returns:
        z, of the same shape, and the rate ``[B]``, nats per sample.
    """
    alpha = ALPHA_MIN + (ALPHA_MAX - ALPHA_MIN) * torch.sigmoid(logits)
    rate = (ALPHA_MAX / alpha).log()
    if atom:
        rate = (f > 0) * rate
    return f * torch.exp(alpha * torch.randn_like(alpha)), rate.flatten(1).sum(1)
