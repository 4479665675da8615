"""The log-uniform prior with a unit of mass at zero."""

import math

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions.utils import broadcast_all
from torch.types import _size

from ib_pyro.rates import LOG_UNIFORM_GAUSSIAN_LOG_C, log_uniform_log_c

__all__ = ["ZeroInflatedLogUniform"]

DEFAULT_ALPHA_MAX = 0.7


class _ZeroOrInterval(constraints.Constraint):
    """``z = 0``, or ``low <= z <= high`` (for |z| when the prior is two-sided)."""

    def __init__(self, low: Tensor, high: Tensor, two_sided: bool) -> None:
        self.low, self.high, self.two_sided = low, high, two_sided

    def check(self, value: Tensor) -> Tensor:
        size = value.abs() if self.two_sided else value
        return (value == 0) | ((size >= self.low) & (size <= self.high) & (size > 0))


class ZeroInflatedLogUniform(TorchDistribution):
    r"""Log-uniform density with an atom at zero, the prior of a ReLU representation.

    ``q(z) = gate * delta_0(z) + c / z`` on ``[low, high]``: scale-free, so that only the size of the noise is
    charged, with a gate that says what a unit that is off costs, ``-log(gate)`` (Achille & Soatto 2016,
    section 5). Densities are taken against Lebesgue measure plus a unit mass at zero.

    With both bounds finite and positive the prior is proper: ``c = (1 - gate) / log(high / low)``, and it can
    be sampled. Otherwise it is improper, c is free, and ``log_c`` sets it; the default
    ``-log 0.7 - ½ log(2 pi e)`` makes log-normal noise of scale 0.7, the layers' default ``alpha_max``, free.

    Args:
        gate: Mass at zero, in [0, 1].
        low: Lower bound of the continuous part, >= 0.
        high: Upper bound of the continuous part.
        log_c: Logarithm of c; only for an improper prior.
        two_sided: Put the density ``c / |z|`` on both signs (for Gaussian noise, which reaches below zero).
        validate_args: Check the arguments and values.

    Raises:
        ValueError: If ``low >= high``, or ``log_c`` is given for a proper prior.

    >>> prior = ZeroInflatedLogUniform(0.25, 0.1, 10.0)
    >>> prior.log_prob(torch.tensor([0.0, 1.0])).exp()
    tensor([0.2500, 0.1629])
    """

    arg_constraints = {
        "gate": constraints.unit_interval,
        "low": constraints.nonnegative,
        "high": constraints.positive,
    }
    has_rsample = False

    def __init__(
        self,
        gate: Tensor | float,
        low: Tensor | float = 0.0,
        high: Tensor | float = math.inf,
        *,
        log_c: Tensor | float | None = None,
        two_sided: bool = False,
        validate_args: bool | None = None,
    ) -> None:
        self.is_proper = _is_proper(low, high)
        if self.is_proper and log_c is not None:
            raise ValueError(
                f"log_c={log_c} is given, but between low={low} and high={high} the prior is proper and c is "
                "what normalises it; leave log_c out, or leave a bound open"
            )
        if log_c is None:
            log_c = LOG_UNIFORM_GAUSSIAN_LOG_C if two_sided else log_uniform_log_c(DEFAULT_ALPHA_MAX)
        self.gate, self.low, self.high, self.log_c = broadcast_all(gate, low, high, log_c)
        if not _all(low < high):
            raise ValueError(f"low must be below high; got low={low}, high={high}")
        if self.is_proper:
            sides = math.log(2) if two_sided else 0.0
            self.log_c = _log(1 - self.gate) - self._log_span().log() - sides
        self.two_sided = two_sided
        self.covers_line = _all(low == 0) and _all(high == math.inf)
        super().__init__(self.gate.shape, validate_args=validate_args)
        self.log_gate = _log(self.gate)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        """Zero, and the interval between the bounds."""
        return _ZeroOrInterval(self.low, self.high, self.two_sided)

    def expand(self, batch_shape: _size, _instance: object = None) -> "ZeroInflatedLogUniform":
        """Return the prior with its parameters expanded to ``batch_shape``."""
        batch_shape = torch.Size(batch_shape)
        if _instance is None and batch_shape == self.batch_shape:
            return self
        new = self._get_checked_instance(ZeroInflatedLogUniform, _instance)
        for name in ("gate", "log_gate", "low", "high", "log_c"):
            setattr(new, name, getattr(self, name).expand(batch_shape))
        new.is_proper, new.covers_line, new.two_sided = self.is_proper, self.covers_line, self.two_sided
        super(ZeroInflatedLogUniform, new).__init__(batch_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density against Lebesgue measure plus a unit mass at zero."""
        if self._validate_args:
            self._validate_sample(value)
        at_zero = value == 0
        inside = self.support.check(value) & ~at_zero
        density = self.log_c - torch.where(inside, value, 1.0).abs().log()
        density = torch.where(inside, density, -math.inf)
        return torch.where(at_zero, self.log_gate, density)

    def sample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw from a proper prior.

        Raises:
            NotImplementedError: If the prior is improper.
        """
        self._require_proper("sampled")
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            uniform = torch.rand(shape, dtype=self.gate.dtype, device=self.gate.device)
            value = (self.low.log() + uniform * self._log_span()).exp().clamp(self.low, self.high)
            if self.two_sided:
                value = value * (torch.randint_like(value, 2) * 2 - 1)
            return torch.where(torch.rand_like(value) < self.gate, 0.0, value)

    @property
    def mean(self) -> Tensor:
        """Mean of a proper prior."""
        self._require_proper("averaged")
        return torch.zeros_like(self.gate) if self.two_sided else self._moment(1)

    @property
    def variance(self) -> Tensor:
        """Variance of a proper prior."""
        return self._moment(2) - self.mean.square()

    def entropy(self) -> Tensor:
        """Entropy of a proper prior against Lebesgue measure plus a unit mass at zero, in nats."""
        self._require_proper("given an entropy")
        mean_log = 0.5 * (self.high.log() + self.low.log())
        continuous = -(1 - self.gate) * (self.log_c.masked_fill(self.gate == 1, 0.0) - mean_log)
        return continuous + torch.special.entr(self.gate)

    def _log_span(self) -> Tensor:
        # The ratio of the bounds may overflow; that of their logarithms does not.
        return self.high.log() - self.low.log()

    def _moment(self, order: int) -> Tensor:
        self._require_proper("averaged")
        mass = 1 - self.gate
        return mass * (self.high**order - self.low**order) / (order * self._log_span())

    def _require_proper(self, verb: str) -> None:
        if not self.is_proper:
            raise NotImplementedError(
                f"an improper log-uniform prior (low={self.low.min():g}, high={self.high.max():g}) cannot be {verb}; "
                "give both bounds, as in ZeroInflatedLogUniform(gate, low=1e-3, high=1e3)"
            )


def _log(mass: Tensor) -> Tensor:
    """Logarithm of a mass; where that is 0, -inf without a gradient, which would turn to NaN where masked."""
    empty = mass == 0
    return mass.masked_fill(empty, 1.0).log().masked_fill(empty, -math.inf)


def _is_proper(low: Tensor | float, high: Tensor | float) -> bool:
    return _all(low > 0) and _all(high < math.inf)


def _all(condition: Tensor | bool) -> bool:
    # Numbers are looked at as numbers: as tensors they would wait for the device.
    return bool(condition.all()) if isinstance(condition, Tensor) else condition
