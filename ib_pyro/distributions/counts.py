"""Counts given the logarithm of their mean: Poisson and negative binomial laws with exact densities."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.distributions import Gamma
from torch.types import _size

from ib_pyro.distributions.flags import copy_flags
from ib_pyro.precision import broadcast_floats, raised, widest

__all__ = ["LogMeanNegativeBinomial", "LogMeanPoisson", "negative_binomial_log_mass", "poisson_log_mass"]

# Above it the series of log gamma has all digits of float64: its next term is below 1e-17.
LARGE = 25.0
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)


def poisson_log_mass(log_mean: Tensor, value: Tensor) -> Tensor:
    """Return ``y log(m) - m - log(y!)`` of counts, elementwise, which does not need m itself to be within range.

    Args:
        log_mean: ``log m``, any shape.
        value: Counts y, broadcastable with ``log_mean``.

    Returns:
        Nats, of the type that both promote to; computed in float64, where the device has it, since little
        is left of the large terms of large counts.
    """
    dtype, (log_mean, value) = _widened(log_mean, value)
    # No count is no event, however rare.
    events = value * log_mean.masked_fill(value == 0, 0.0)
    return (events - log_mean.exp() - torch.lgamma(value + 1)).to(dtype)


def negative_binomial_log_mass(log_mean: Tensor, dispersion: Tensor, value: Tensor) -> Tensor:
    r"""Return ``log P(y)`` of counts of mean m and variance ``m + m² / r``, elementwise.

    ``P(y) = Gamma(y + r) / (Gamma(r) y!) (r / (r + m))^r (m / (r + m))^y``. For large r, where it tends to a Poisson
    law, the ratio of gamma functions is taken by Stirling's series: their logarithms, of which little is left, would
    have rounded it off.

    Args:
        log_mean: ``log m``, any shape.
        dispersion: r > 0, broadcastable with ``log_mean``.
        value: Counts y, broadcastable with both.

    Returns:
        Nats, of the type that all promote to; computed as :func:`poisson_log_mass` is.
    """
    dtype, (log_mean, dispersion, value) = _widened(log_mean, dispersion, value)
    # log(1 + m / r); the difference of the logarithms has fewer digits, but is within range for every m.
    is_large = log_mean > LARGE
    rest = torch.where(
        is_large,
        torch.logaddexp(torch.zeros_like(log_mean), log_mean - dispersion.log()),
        torch.log1p(log_mean.masked_fill(is_large, 0.0).exp() / dispersion),
    )
    ways = _log_ratio_of_gammas(dispersion, value) - torch.lgamma(value + 1)
    return (ways + value * (log_mean - rest).masked_fill(value == 0, 0.0) - dispersion * rest).to(dtype)


class LogMeanPoisson(TorchDistribution):
    """A Poisson law of counts, given the logarithm of its mean.

    Args:
        log_mean: ``log m``, any shape.
        validate_args: Check the arguments and values.
    """

    arg_constraints = {"log_mean": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(self, log_mean: Tensor, *, validate_args: bool | None = None) -> None:
        self.log_mean = torch.as_tensor(log_mean)
        super().__init__(self.log_mean.shape, validate_args=validate_args)

    def expand(self, batch_shape: _size, _instance: object = None) -> "LogMeanPoisson":
        """Return the law with a larger batch shape."""
        new: Any = self._get_checked_instance(LogMeanPoisson, _instance)
        new.log_mean = self.log_mean.expand(torch.Size(batch_shape))
        super(LogMeanPoisson, new).__init__(new.log_mean.shape, validate_args=False)
        return copy_flags(self, new)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log probability of each value."""
        if self._validate_args:
            self._validate_sample(value)
        return poisson_log_mass(self.log_mean, value)

    def sample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw counts."""
        with torch.no_grad():
            return torch.poisson(self.mean.expand(self._extended_shape(sample_shape)))

    @property
    def mean(self) -> Tensor:
        """The mean m."""
        return self.log_mean.exp()

    @property
    def variance(self) -> Tensor:
        """The variance, which is m."""
        return self.mean


class LogMeanNegativeBinomial(TorchDistribution):
    """A negative binomial law of counts of mean m and variance ``m + m² / r``.

    Args:
        log_mean: ``log m``, any shape.
        dispersion: r > 0, broadcastable to ``log_mean``; the larger, the nearer to a Poisson law.
        validate_args: Check the arguments and values.
    """

    arg_constraints = {"log_mean": constraints.real, "dispersion": constraints.positive}
    support = constraints.nonnegative_integer

    def __init__(self, log_mean: Tensor, dispersion: Tensor, *, validate_args: bool | None = None) -> None:
        self.log_mean, self.dispersion = broadcast_floats(log_mean, dispersion)
        super().__init__(self.log_mean.shape, validate_args=validate_args)

    def expand(self, batch_shape: _size, _instance: object = None) -> "LogMeanNegativeBinomial":
        """Return the law with a larger batch shape."""
        new: Any = self._get_checked_instance(LogMeanNegativeBinomial, _instance)
        shape = torch.Size(batch_shape)
        new.log_mean, new.dispersion = self.log_mean.expand(shape), self.dispersion.expand(shape)
        super(LogMeanNegativeBinomial, new).__init__(shape, validate_args=False)
        return copy_flags(self, new)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log probability of each value."""
        if self._validate_args:
            self._validate_sample(value)
        return negative_binomial_log_mass(self.log_mean, self.dispersion, value)

    def sample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw counts: of a Poisson law whose mean is m times a gamma variable of mean 1 and shape r."""
        with torch.no_grad():
            shape = self._extended_shape(sample_shape)
            dispersion = self.dispersion.expand(shape)
            factor = Gamma(dispersion, dispersion, validate_args=False).sample()
            return torch.poisson(self.mean.expand(shape) * factor)

    @property
    def mean(self) -> Tensor:
        """The mean m."""
        return self.log_mean.exp()

    @property
    def variance(self) -> Tensor:
        """``m + m² / r``."""
        return self.mean * (1 + self.mean / self.dispersion)


def _widened(*values: Tensor) -> tuple[torch.dtype, tuple[Tensor, ...]]:
    """Return the type of a result, and the tensors in the widest type that their device has."""
    dtype, found = raised(*values)
    wide = widest(found[0].device)
    return dtype, tuple(each.to(wide) for each in found)


def _log_ratio_of_gammas(r: Tensor, y: Tensor) -> Tensor:
    """Return ``log(Gamma(r + y) / Gamma(r)) - y log(r)``, which tends to 0 as r grows."""
    is_large = r > LARGE
    wide, narrow = r.masked_fill(~is_large, 2 * LARGE), r.masked_fill(is_large, 1.0)
    series = (wide + y - 0.5) * torch.log1p(y / wide) - y + _stirling(wide + y) - _stirling(wide)
    ratio = torch.lgamma(narrow + y) - torch.lgamma(narrow) - y * narrow.log()
    return torch.where(is_large, series, ratio)


def _stirling(x: Tensor) -> Tensor:
    """Return ``log Gamma(x) - (x - ½) log x + x - ½ log(2 pi)`` for large x."""
    square, total = x.square().reciprocal(), torch.zeros_like(x)
    for coefficient in reversed(STIRLING):
        total = total * square + coefficient
    return total / x
