"""Grey values of so many levels as a logistic law that is rounded to them."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.nn import functional as F
from torch.types import _size

from ib_pyro.distributions.flags import copy_flags
from ib_pyro.precision import broadcast_floats, raised

__all__ = ["DiscretizedLogistic", "GreyLevels", "discretized_logistic_log_mass"]


class GreyLevels(constraints.Constraint):
    """The values ``0, 1/(L-1), ..., 1``, up to the rounding of single precision.

    Args:
        levels: L.
    """

    is_discrete = True

    def __init__(self, levels: int) -> None:
        self.levels = levels

    def check(self, value: Tensor) -> Tensor:
        """Whether each value is one of the levels."""
        place = value.to(torch.promote_types(value.dtype, torch.float32)) * (self.levels - 1)
        is_near = (place - place.round()).abs() <= _slack(value, self.levels)
        return is_near & (value >= 0) & (value <= 1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.levels})"


def _slack(value: Tensor, levels: int) -> float:
    """How far a level may lie from its place among all, which a type rounds."""
    # Half precision has eleven digits for a place among 256, and bfloat16 eight.
    eps = torch.finfo(value.dtype).eps if value.is_floating_point() else 0.0
    return min(max(1e-3, 4 * levels * eps), 0.5)


def discretized_logistic_log_mass(loc: Tensor, scale: Tensor, value: Tensor, levels: int = 256) -> Tensor:
    r"""Return ``log P(value)`` of a logistic law that is rounded to grey levels, elementwise.

    ``P(y) = sigma((y + h - loc) / s) - sigma((y - h - loc) / s)`` with ``h = ½ / (L - 1)``; all mass below ``0 + h``
    is that of 0, and all above ``1 - h`` that of 1 (Salimans et al. 2017, PixelCNN++, eq. 2, with one component). The
    difference is taken as ``log sigma(a) + log sigma(-b) + log(1 - exp(b - a))``, exact also where both ends round to
    the same number: the code of the paper approximates there by the density.

    Args:
        loc: Location, in the units of y.
        scale: Scale s > 0, in the units of y.
        value: y, of the levels ``k / (L - 1)``, broadcastable with both.
        levels: L.

    Returns:
        Nats, of the type that all promote to; computed in float32 for the half types.
    """
    dtype, (loc, scale, value) = raised(loc, scale, value)
    # In steps from level to level, in which the level itself is a whole number.
    place, scale = (value * (levels - 1)).round(), scale * (levels - 1)
    half, distance = 0.5 / scale, (place - loc * (levels - 1)) / scale
    below, above = distance - half, distance + half
    # What lies above the last level, and below the first, is theirs.
    to_the_left = F.logsigmoid(above).masked_fill(place == levels - 1, 0.0)
    to_the_right = F.logsigmoid(-below).masked_fill(place == 0, 0.0)
    within = torch.log(-torch.expm1(-2 * half)).masked_fill((place == 0) | (place == levels - 1), 0.0)
    return (to_the_left + to_the_right + within).to(dtype)


class DiscretizedLogistic(TorchDistribution):
    r"""A grey value of L levels in [0, 1]: a logistic draw, rounded to the nearest of ``0, 1/(L-1), ..., 1``.

    Salimans et al. (2017), PixelCNN++, section 2.1, with one component. Its probabilities are those of whole numbers
    of levels, so that bits per dimension need no noise added to the data.

    Args:
        loc: Location, in the units of y.
        scale: Scale of the logistic law, > 0, in the units of y.
        levels: L.
        validate_args: Check the arguments and values.

    >>> law = DiscretizedLogistic(torch.tensor(0.2), torch.tensor(0.1), 256)
    >>> round(law.log_prob(torch.arange(256) / 255).exp().sum().item(), 5)
    1.0
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}

    def __init__(
        self, loc: Tensor, scale: Tensor, levels: int = 256, *, validate_args: bool | None = None
    ) -> None:
        if levels < 2:
            raise ValueError(f"levels must be at least 2; got {levels}")
        self.loc, self.scale = broadcast_floats(loc, scale)
        self.levels = levels
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        """The levels."""
        return GreyLevels(self.levels)

    def expand(self, batch_shape: _size, _instance: object = None) -> "DiscretizedLogistic":
        """Return the law with a larger batch shape."""
        new: Any = self._get_checked_instance(DiscretizedLogistic, _instance)
        new.loc, new.scale = (each.expand(torch.Size(batch_shape)) for each in (self.loc, self.scale))
        new.levels = self.levels
        super(DiscretizedLogistic, new).__init__(new.loc.shape, validate_args=False)
        return copy_flags(self, new)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log probability of each value."""
        if self._validate_args:
            self._validate_sample(value)
        return discretized_logistic_log_mass(self.loc, self.scale, value, self.levels)

    def sample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw y."""
        with torch.no_grad():
            dtype, (loc, scale) = raised(self.loc, self.scale)
            share = torch.rand(self._extended_shape(sample_shape), dtype=loc.dtype, device=loc.device)
            drawn = loc + scale * (torch.log(share) - torch.log1p(-share))
            return ((drawn.clamp(0.0, 1.0) * (self.levels - 1)).round() / (self.levels - 1)).to(dtype)

    def cdf(self, value: Tensor) -> Tensor:
        """Return the probability of the levels up to each value."""
        slack = _slack(value, self.levels)
        dtype, (loc, scale, value) = raised(self.loc, self.scale, value)
        place = value * (self.levels - 1)
        place = torch.where((place - place.round()).abs() <= slack, place.round(), place.floor())
        mass = torch.sigmoid(((place + 0.5) / (self.levels - 1) - loc) / scale)
        return mass.masked_fill(place >= self.levels - 1, 1.0).masked_fill(place < 0, 0.0).to(dtype)

    @property
    def mean(self) -> Tensor:
        """``sum_k P(y >= k / (L-1)) / (L-1)``, the exact mean of the rounded value."""
        dtype, (loc, scale) = raised(self.loc, self.scale)
        total = torch.zeros_like(loc)
        # One level at a time: all at once would take L times the memory of the images.
        for level in range(1, self.levels):
            total = total + torch.sigmoid((loc - (level - 0.5) / (self.levels - 1)) / scale)
        return (total / (self.levels - 1)).to(dtype)
