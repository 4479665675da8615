"""Grey values in [0, 1] given logits: the continuous Bernoulli law, exact at every logit."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.types import _size

from ib_pyro.distributions.flags import copy_flags
from ib_pyro.precision import promoted, raised, single_or_wider

__all__ = ["LogitContinuousBernoulli", "continuous_bernoulli_log_density"]

# log(sinh t / t) in powers of t², and its derivative in odd powers of t: 2^2n B_2n / (2n (2n)!).
SERIES = (
    1 / 6,
    -1 / 180,
    1 / 2835,
    -1 / 37800,
    1 / 467775,
    -691 / 3831077250,
    2 / 127702575,
    -3617 / 2605132530000,
)
SMALL = 0.3
# Where five cumulants, and the formula, are both good to 13 digits.
FLAT = 1e-2


def continuous_bernoulli_log_density(logits: Tensor, value: Tensor) -> Tensor:
    r"""Return ``log p(value)`` of independent grey values, elementwise.

    ``p(y) = C(lambda) lambda^y (1 - lambda)^(1-y)`` on [0, 1] with ``C = 2 artanh(1 - 2 lambda) / (1 - 2 lambda)``
    (Loaiza-Ganem & Cunningham 2019). In the logit ``x = log(lambda / (1 - lambda))`` that is
    ``log p = (y - ½) x - log(sinh(x/2) / (x/2))``, which has no hole at lambda = ½ and none where lambda rounds to 0
    or 1.

    Args:
        logits: x, any shape.
        value: y in [0, 1], broadcastable with ``logits``.

    Returns:
        Nats, of the type that both promote to; computed in float32 for the half types.
    """
    dtype = promoted(logits, value)
    logits, value = (single_or_wider(each.to(dtype)) for each in (logits, value))
    # (y - ½) x - |x|/2 as one product: of an end that the logit makes nearly certain, nothing is left to cancel.
    miss = torch.where(logits > 0, value - 1, value)
    return (logits * miss - _log_sinhc(0.5 * logits, without=1.0)).to(dtype)


class LogitContinuousBernoulli(TorchDistribution):
    r"""The continuous Bernoulli law of a grey value in [0, 1], ``p(y) ~ lambda^y (1 - lambda)^(1-y)``.

    Loaiza-Ganem & Cunningham (2019). Density, mean and draws are exact to rounding at every logit: PyTorch's own have
    a polynomial around lambda = ½, and a constant where the sigmoid of the logit rounds to 0 or 1.

    Args:
        logits: ``log(lambda / (1 - lambda))``, any shape.
        validate_args: Check the arguments and values.

    >>> LogitContinuousBernoulli(torch.tensor(0.0)).log_prob(torch.tensor(0.3))
    tensor(0.)
    """

    arg_constraints = {"logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, logits: Tensor, *, validate_args: bool | None = None) -> None:
        self.logits = torch.as_tensor(logits)
        super().__init__(self.logits.shape, validate_args=validate_args)

    def expand(self, batch_shape: _size, _instance: object = None) -> "LogitContinuousBernoulli":
        """Return the law with a larger batch shape."""
        new: Any = self._get_checked_instance(LogitContinuousBernoulli, _instance)
        new.logits = self.logits.expand(torch.Size(batch_shape))
        super(LogitContinuousBernoulli, new).__init__(new.logits.shape, validate_args=False)
        return copy_flags(self, new)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of each value."""
        if self._validate_args:
            self._validate_sample(value)
        return continuous_bernoulli_log_density(self.logits, value)

    def rsample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw y, differentiable in the logits."""
        shape = self._extended_shape(sample_shape)
        like = single_or_wider(self.logits)
        return self.icdf(torch.rand(shape, dtype=like.dtype, device=like.device)).to(self.logits.dtype)

    def icdf(self, value: Tensor) -> Tensor:
        """Return y below which a share of the mass lies: ``log1p(value * expm1(x)) / x``."""
        dtype, (logits, value) = raised(self.logits, value)
        small = logits.abs() < FLAT
        # From the end where the mass is, whose exponential does not overflow.
        wide = logits.masked_fill(small, 1.0)
        end, share = -wide.abs(), torch.where(wide > 0, 1 - value, value)
        # All of the mass lies within a distance of 1, also where the logarithm of what lies beyond has no slope.
        whole = share >= 1
        distance = torch.log1p(share.masked_fill(whole, 0.5) * torch.expm1(end)) / end
        distance = distance.masked_fill(whole, 1.0)
        place = torch.where(wide > 0, 1 - distance, distance)
        return (
            torch.where(small, _near_uniform(logits.masked_fill(~small, 0.0), value), place)
            .clamp(0.0, 1.0)
            .to(dtype)
        )

    def cdf(self, value: Tensor) -> Tensor:
        """Return the mass below y: ``expm1(x y) / expm1(x)``."""
        dtype, (logits, value) = raised(self.logits, value)
        value = value.clamp(0.0, 1.0)
        end, is_zero = -logits.abs(), logits == 0
        distance = torch.where(logits > 0, 1 - value, value)
        divisor = torch.expm1(end).masked_fill(is_zero, 1.0)
        share = torch.where(is_zero, distance, torch.expm1(end * distance) / divisor)
        return torch.where(logits > 0, 1 - share, share).to(dtype)

    @property
    def mean(self) -> Tensor:
        """``½ + ½ (coth(x/2) - 2/x)``."""
        dtype, (logits,) = raised(self.logits)
        return (0.5 + 0.5 * _langevin(0.5 * logits)).to(dtype)

    @property
    def variance(self) -> Tensor:
        """``¼ (1 / (x/2)² - 1 / sinh(x/2)²)``."""
        dtype, (logits,) = raised(self.logits)
        size = (0.5 * logits).abs()
        small = size < SMALL
        square = size.square().masked_fill(~small, 0.0)
        series = torch.zeros_like(square)
        for power in range(len(SERIES), 0, -1):
            series = series * square + 2 * power * (2 * power - 1) * SERIES[power - 1]
        wide = size.masked_fill(small, 1.0)
        over_sinh = 4 * torch.exp(-2 * wide) / torch.expm1(-2 * wide).square()
        return (0.25 * torch.where(small, series, wide.square().reciprocal() - over_sinh)).to(dtype)

    def entropy(self) -> Tensor:
        """Return the differential entropy, ``-E log p`` at the mean, in which the log density is linear."""
        return -continuous_bernoulli_log_density(self.logits, self.mean)


def _near_uniform(logits: Tensor, share: Tensor) -> Tensor:
    """Return ``log1p(u expm1(x)) / x`` of a small x, by the cumulants of a coin that shows 1 with probability u."""
    variance, skew = share * (1 - share), 1 - 2 * share
    series = logits / 120 * skew * (1 - 12 * variance) + (1 - 6 * variance) / 24
    return share + logits * variance * (0.5 + logits * (skew / 6 + logits * series))


def _log_sinhc(t: Tensor, *, without: float = 0.0) -> Tensor:
    """Return ``log(sinh t / t)``, less a multiple of ``|t|``."""
    # Not `abs`, whose gradient at zero is none of the two: what is left out there would not be put back elsewhere.
    size = torch.where(t > 0, t, -t)
    small = size < SMALL
    square = size.square().masked_fill(~small, 0.0)
    series = torch.zeros_like(square)
    for coefficient in reversed(SERIES):
        series = (series + coefficient) * square
    wide = size.masked_fill(small, 1.0)
    tail = torch.log(-torch.expm1(-2 * wide)) - torch.log(2 * wide)
    return torch.where(small, series - without * size, tail + (1 - without) * wide)


def _langevin(t: Tensor) -> Tensor:
    """Return ``coth t - 1/t``, the derivative of ``log(sinh t / t)``."""
    small = t.abs() < SMALL
    square = t.square().masked_fill(~small, 0.0)
    series = torch.zeros_like(square)
    for power in range(len(SERIES), 0, -1):
        series = series * square + 2 * power * SERIES[power - 1]
    wide = t.masked_fill(small, 1.0)
    return torch.where(small, series * t, 1 / torch.tanh(wide) - 1 / wide)
