"""The log-uniform prior with a unit of mass at zero."""

import math

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.types import _size

from ib_pyro.distributions.flags import copy_flags
from ib_pyro.distributions.supports import ZeroOrInterval
from ib_pyro.precision import broadcast_floats, promoted, raised, single_or_wider, widest
from ib_pyro.rates import LOG_UNIFORM_GAUSSIAN_LOG_C, log_uniform_log_c

__all__ = ["ZeroInflatedLogUniform"]

DEFAULT_ALPHA_MAX = 0.7


class ZeroInflatedLogUniform(TorchDistribution):
    r"""Log-uniform density with an atom at zero, the prior of a ReLU representation.

    ``q(z) = gate * delta_0(z) + c / z`` on ``[low, high]``: scale-free, so that only the size of the noise is
    charged, with a gate that says what a unit that is off costs, ``-log(gate)`` (Achille & Soatto 2016,
    section 5). Densities are taken against Lebesgue measure plus a unit mass at zero.

    With both bounds finite and positive the prior is proper: ``c = (1 - gate) / log(high / low)``, and it can
    be sampled. Otherwise it is improper, c is free, and ``log_c`` sets it; the default
    ``-log 0.7 - ½ log(2 pi e)`` makes log-normal noise of scale 0.7, the layers' default ``alpha_max``, free.

    A bound of either kind makes the rate of log-normal and of Gaussian noise infinite, because such noise reaches
    beyond it. A prior that is proper *and* has a finite rate is :class:`FactorizedLogNormal` or a log-normal, with an
    activation that is never zero (softplus).

    Args:
        gate: Mass at zero, in [0, 1].
        low: Lower bound of the continuous part, >= 0.
        high: Upper bound of the continuous part.
        log_c: Logarithm of c; only for an improper prior.
        two_sided: Put the density ``c / |z|`` on both signs (for Gaussian noise, which reaches below zero).
        like: Tensor whose type and device the gate takes, so that it may be given as a number.
        validate_args: Check the arguments and values.

    Raises:
        ValueError: If ``low >= high``, a bound is beyond the range of the parameters' type, or ``log_c`` is given for
            a proper prior.

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
        like: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if log_c is not None and _is_proper(low, high):
            raise ValueError(
                f"log_c={log_c} is given, but between low={low} and high={high} the prior is proper and c is "
                "what normalises it; leave log_c out, or leave a bound open"
            )
        if log_c is None:
            log_c = LOG_UNIFORM_GAUSSIAN_LOG_C if two_sided else log_uniform_log_c(DEFAULT_ALPHA_MAX)
        # Of a number it is known, without a look at the device, what it leaves out of a formula.
        self.has_free_atom = not isinstance(gate, Tensor) and gate == 1
        if like is not None:
            gate = torch.as_tensor(gate, dtype=like.dtype, device=like.device)
        # A number is not rounded to the type of the gate: in bfloat16 the rate of each unit would be off alike.
        given = (log_c,) if isinstance(log_c, Tensor) else ()
        names = ("gate", "low", "high", "log_c")
        self.gate, self.low, self.high, *constant = broadcast_floats(gate, low, high, *given, names=names)
        low, high = _rounded("low", low, self.gate.dtype), _rounded("high", high, self.gate.dtype)
        if not _all(low < high):
            raise ValueError(f"low must be below high; got low={low}, high={high}")
        self.is_proper = _is_proper(low, high)
        self.log_c_number = None if self.is_proper or isinstance(log_c, Tensor) else float(log_c)
        wide_gate = single_or_wider(self.gate)
        self.log_gate = _log(wide_gate)
        if self.is_proper:
            sides = math.log(2) if two_sided else 0.0
            self.log_c = _log(1 - wide_gate) - self._log_span().log() - sides
        else:
            self.log_c = (
                single_or_wider(constant[0]) if constant else torch.full_like(wide_gate, float(log_c))
            )
        self.two_sided = two_sided
        self._unexpanded: ZeroInflatedLogUniform | None = None
        self.covers_line = _all(low == 0) and _all(high == math.inf)
        super().__init__(self.gate.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        """Zero, and the interval between the bounds."""
        return ZeroOrInterval(self.low, self.high, self.gate, self.two_sided)

    def expand(self, batch_shape: _size, _instance: object = None) -> "ZeroInflatedLogUniform":
        """Return the prior with its parameters expanded to ``batch_shape``."""
        batch_shape = torch.Size(batch_shape)
        if _instance is None and batch_shape == self.batch_shape:
            return self
        new = self._get_checked_instance(ZeroInflatedLogUniform, _instance)
        for name in ("gate", "log_gate", "low", "high", "log_c"):
            setattr(new, name, getattr(self, name).expand(batch_shape))
        new.is_proper, new.covers_line, new.two_sided = self.is_proper, self.covers_line, self.two_sided
        new.has_free_atom, new.log_c_number = self.has_free_atom, self.log_c_number
        new._unexpanded = self.unexpanded
        super(ZeroInflatedLogUniform, new).__init__(batch_shape, validate_args=False)
        return copy_flags(self, new)

    @property
    def unexpanded(self) -> "ZeroInflatedLogUniform":
        """The prior that this one was expanded from, whose parameters broadcast to its batch shape.

        A formula over a batch need not compute with as many copies of one constant.
        """
        return self if self._unexpanded is None else self._unexpanded

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density against Lebesgue measure plus a unit mass at zero."""
        if self._validate_args:
            self._validate_sample(value)
        dtype, at_zero = promoted(value, self.gate), value == 0
        inside = self.support.check(value) & ~at_zero
        _, (value, log_c) = raised(value, self.log_c)
        density = log_c - torch.where(inside, value, 1.0).abs().log()
        density = torch.where(inside, density, -math.inf)
        return torch.where(at_zero, self.log_gate, density).to(dtype)

    def sample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw from a proper prior.

        Raises:
            NotImplementedError: If the prior is improper.
        """
        self._require_proper("sampled")
        shape = self._extended_shape(sample_shape)
        gate = single_or_wider(self.gate)
        with torch.no_grad():
            uniform = torch.rand(shape, dtype=gate.dtype, device=gate.device)
            value = self._at(uniform).to(self.gate.dtype).clamp(self.low, self.high)
            if self.two_sided:
                value = value * (torch.randint_like(value, 2) * 2 - 1)
            return torch.where(torch.rand_like(uniform) < gate, 0.0, value)

    def cdf(self, value: Tensor) -> Tensor:
        """Mass of a proper prior up to z, which steps by the gate at zero.

        Raises:
            NotImplementedError: If the prior is improper.
        """
        self._require_proper("given a cdf")
        dtype, gate = promoted(value, self.gate), single_or_wider(self.gate)
        share = self._share_below(value.abs())
        if not self.two_sided:
            mass = gate + (1 - gate) * share
            return torch.where(value >= 0, mass, 0.0).masked_fill(value.isnan(), math.nan).to(dtype)
        half = 0.5 * (1 - gate)
        mass = torch.where(value >= 0, half + gate + half * share, half * (1 - share))
        return mass.masked_fill(value.isnan(), math.nan).to(dtype)

    def icdf(self, value: Tensor) -> Tensor:
        """Quantile of a proper prior, the least z whose cdf is at least u; NaN outside of [0, 1].

        Raises:
            NotImplementedError: If the prior is improper.
        """
        self._require_proper("given quantiles")
        dtype, (value, gate) = raised(value, self.gate)
        below = 0.5 * (1 - gate) if self.two_sided else torch.zeros_like(gate)
        side = (1 - gate - below).masked_fill(gate == 1, 1.0)
        quantile = self._at((value - gate - below) / side).masked_fill(
            (value <= below + gate) & (gate > 0), 0.0
        )
        if self.two_sided:
            quantile = torch.where((value <= below) & (gate < 1), -self._at(1 - value / side), quantile)
        return quantile.masked_fill(~((value >= 0) & (value <= 1)), math.nan).to(dtype)

    @property
    def mean(self) -> Tensor:
        """Mean of a proper prior."""
        self._require_proper("averaged")
        if self.two_sided:
            return torch.zeros_like(self.gate)
        return (self._moment(1) * self.high).to(self.gate.dtype)

    @property
    def variance(self) -> Tensor:
        """Variance of a proper prior."""
        high = self.high.to(widest(self.high.device))
        return (self._relative_variance() * high * high).to(self.gate.dtype)

    @property
    def stddev(self) -> Tensor:
        """Standard deviation of a proper prior; the variance may leave the range of its type where this does not."""
        return (self._relative_variance().sqrt() * self.high).to(self.gate.dtype)

    def entropy(self) -> Tensor:
        """Entropy of a proper prior against Lebesgue measure plus a unit mass at zero, in nats."""
        self._require_proper("given an entropy")
        gate = single_or_wider(self.gate)
        mean_log = 0.5 * (single_or_wider(self.high).log() + single_or_wider(self.low).log())
        continuous = -(1 - gate) * (self.log_c.masked_fill(gate == 1, 0.0) - mean_log)
        return (continuous + torch.special.entr(gate)).to(self.gate.dtype)

    def _log_span(self) -> Tensor:
        low, high = single_or_wider(self.low), single_or_wider(self.high)
        # The ratio of far bounds may overflow, and the difference of the logarithms of near ones cancels.
        near = high < 2 * low
        excess = torch.where(near, high - low, 0.0) / low
        return torch.where(near, torch.log1p(excess), high.log() - low.log())

    def _share_below(self, size: Tensor) -> Tensor:
        """Share of the continuous part, of one side if there are two, below a size."""
        _, (size, low) = raised(size, self.low)
        share = (size.masked_fill(size == 0, 1.0).log() - low.log()) / self._log_span()
        return share.clamp(0.0, 1.0).masked_fill(size <= low, 0.0).masked_fill(size >= self.high, 1.0)

    def _at(self, share: Tensor) -> Tensor:
        """The size below which is a share of the continuous part."""
        low, high = single_or_wider(self.low), single_or_wider(self.high)
        size = (low.log() + share.clamp(0.0, 1.0) * self._log_span()).exp()
        # The logarithm of a bound and its exponential may round to either side.
        return torch.where(
            share >= 1, high, torch.where(share <= 0, low, torch.minimum(size.maximum(low), high))
        )

    def _moment(self, order: int) -> Tensor:
        """``E[z^k] / high^k``, whose parts cannot leave the range of the type."""
        wide = widest(self.gate.device)
        exponent = order * (self.high.to(wide).log() - self.low.to(wide).log())
        return (1 - self.gate.to(wide)) * -torch.expm1(-exponent) / exponent

    def _relative_variance(self) -> Tensor:
        self._require_proper("averaged")
        return self._moment(2) - (0.0 if self.two_sided else self._moment(1).square())

    def _require_proper(self, verb: str) -> None:
        if not self.is_proper:
            raise NotImplementedError(
                f"an improper log-uniform prior (low={self.low.min():g}, high={self.high.max():g}) cannot be {verb}. "
                "A proper prior with a finite rate is FactorizedLogNormal or LogNormal, with an activation that is "
                "never zero (softplus). Both bounds, as in ZeroInflatedLogUniform(gate, low=1e-3, high=1e3), make "
                "this one proper too, but then the rate of log-normal and of Gaussian noise, which reaches beyond "
                "them, is infinite"
            )


def _log(mass: Tensor) -> Tensor:
    """Logarithm of a mass; where that is 0, -inf without a gradient, which would turn to NaN where masked."""
    empty = mass == 0
    return mass.masked_fill(empty, 1.0).log().masked_fill(empty, -math.inf)


def _is_proper(low: Tensor | float, high: Tensor | float) -> bool:
    return _all(low > 0) and _all(high < math.inf)


def _rounded(name: str, bound: Tensor | float, dtype: torch.dtype) -> Tensor | float:
    """Return a bound as the parameters' type holds it.

    Raises:
        ValueError: If a number that is finite and positive is not any more.
    """
    if isinstance(bound, Tensor):
        return bound
    rounded = torch.tensor(bound, dtype=dtype).item()
    if 0 < bound < math.inf and not 0 < rounded < math.inf:
        raise ValueError(f"{name}={bound} is {rounded} in {dtype}; pass gate as a tensor of a wider type")
    return rounded


def _all(condition: Tensor | bool) -> bool:
    # Numbers are looked at as numbers: as tensors they would wait for the device.
    return bool(condition.all()) if isinstance(condition, Tensor) else condition
