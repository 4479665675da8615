"""Pure functions of the log-normal law that its range of many orders of magnitude does not break."""

import math

import torch
from torch import Tensor

__all__ = ["log_normal_cdf", "log_normal_density", "log_normal_icdf", "relative_spread"]


def log_normal_density(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Return ``-½ ((log z - loc) / scale)² - log scale - ½ log(2 pi) - log z``, and -inf for z <= 0."""
    positive = value > 0
    log_z = torch.where(positive, value, 1.0).log()
    score = (log_z - loc) / scale
    density = -0.5 * score.square() - scale.log() - 0.5 * math.log(2 * math.pi) - log_z
    return torch.where(positive, density, -math.inf)


def log_normal_cdf(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Return ``Phi((log z - loc) / scale)``, and 0 for z <= 0; NaN stays NaN."""
    below = value <= 0
    mass = torch.special.ndtr((value.masked_fill(below, 1.0).log() - loc) / scale)
    return mass.masked_fill(below, 0.0)


def log_normal_icdf(mass: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Return the quantile ``exp(loc + scale Phi⁻¹(u))``; NaN outside of [0, 1]."""
    return (loc + scale * torch.special.ndtri(mass)).exp()


def relative_spread(scale: Tensor) -> Tensor:
    """Return ``sqrt(1 - exp(-scale²))``, the standard deviation over ``exp(loc + scale²)``.

    Neither the square of a small scale nor the exponential of a large one leaves the range of the type.

    Args:
        scale: Standard deviation of the logarithm, any shape.
    """
    # The square of so small a scale may be zero, where the root has no derivative; its series has.
    small = scale < 1e-8
    root = (-torch.expm1(-scale.masked_fill(small, 1.0).square())).sqrt()
    return torch.where(small, scale, root)
