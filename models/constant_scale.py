"""A noise branch that does not look at its input."""

import math

import torch
from torch import Tensor, nn

__all__ = ["ConstantScale"]


class ConstantScale(nn.Module):
    """The same scale for every sample, one for each unit, as :class:`ib_pyro.nn.AdditiveNormal` takes it.

    Args:
        num_units: Number of units of z.
        scale: The scale, whose inverse softplus is the output.
        learn: Learn it, or keep it fixed.

    Raises:
        ValueError: If the scale is not positive.
    """

    def __init__(self, num_units: int, scale: float = 1.0, *, learn: bool = False) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"scale must be positive; got {scale}")
        # log(exp(s) - 1), without the overflow.
        raw = scale + math.log(-math.expm1(-scale))
        self.raw = nn.Parameter(torch.full((num_units,), raw), requires_grad=learn)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[*batch, num_units]`` for x ``[*batch, features]``."""
        return self.raw.expand(*x.shape[:-1], -1)
