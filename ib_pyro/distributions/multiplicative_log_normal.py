"""A non-negative activation times log-normal noise, with an atom where the activation is zero."""

import math

import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.types import _size

from ib_pyro.atoms import on_or_off
from ib_pyro.distributions.log_normal import (
    log_normal_cdf,
    log_normal_density,
    log_normal_icdf,
    relative_spread,
)
from ib_pyro.distributions.noisy_activation import NoiseVariable, NoisyActivation
from ib_pyro.distributions.supports import WithAtoms, cdf_of_zero
from ib_pyro.precision import broadcast_floats, raised, single_or_wider

__all__ = ["MultiplicativeLogNormal"]


class MultiplicativeLogNormal(NoisyActivation):
    r"""The noisy activation ``z = f * eps`` of Information Dropout.

    ``log eps ~ N(m, alpha²)``, with m = 0 (median 1, as in the authors' code) or m = -alpha²/2
    (``unit_mean``). Where f = 0 the noise has nothing to multiply: z *is* zero, an atom of mass one. Densities
    are taken against Lebesgue measure on (0, inf) plus a unit mass at zero (Achille & Soatto 2016, section 5).

    Densities, rates and their slopes are right to the digits of the type, wherever that holds them, for f = 0 and
    ``1e-30 <= f <= 1e30`` (in float16 1e-4 to 1e4) and ``1e-3 <= alpha <= 0.7``.

    Args:
        activation: f >= 0, any shape.
        alpha: Standard deviation of log eps, > 0, broadcastable to ``activation``.
        unit_mean: Shift log eps so that eps has mean 1.
        validate_args: Check the arguments and values.

    >>> z = MultiplicativeLogNormal(torch.tensor([0.0, 2.0]), torch.tensor(0.5))
    >>> z.mean
    tensor([0.0000, 2.2663])
    """

    arg_constraints = {"activation": constraints.nonnegative, "alpha": constraints.positive}
    parameter_names = {"alpha": "standard deviation of log eps"}
    has_rsample = True

    def __init__(
        self,
        activation: Tensor | float,
        alpha: Tensor | float,
        *,
        unit_mean: bool = False,
        validate_args: bool | None = None,
    ) -> None:
        self.activation, self.alpha = broadcast_floats(activation, alpha, names=("activation", "alpha"))
        self.unit_mean = unit_mean
        self._log_activation: Tensor | None = None
        super().__init__(self.activation.shape, validate_args=validate_args)

    @classmethod
    def from_log_activation(
        cls,
        log_activation: Tensor,
        alpha: Tensor,
        *,
        unit_mean: bool = False,
        validate_args: bool | None = None,
    ) -> "MultiplicativeLogNormal":
        """Build the distribution from log f, which keeps activations that underflow off the atom."""
        names = ("log_activation", "alpha")
        log_activation, alpha = broadcast_floats(log_activation, alpha, names=names)
        new = cls(log_activation.exp(), alpha, unit_mean=unit_mean, validate_args=validate_args)
        new._log_activation = log_activation
        return new

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        """Values of at least zero; it has no smooth transform to the line where some activation is an atom."""
        # Without an atom the values are positive, and a transform of the line need not reach zero.
        return WithAtoms(constraints.nonnegative, self.is_atom)

    @property
    def is_atom(self) -> Tensor:
        """Where the activation is exactly zero, and z with it."""
        return self.activation == 0 if self._log_activation is None else self._log_activation == -math.inf

    def on_or_off(self, on: Tensor, off: Tensor | float = 0.0) -> Tensor:
        """Return one value where there is noise and another on the atom, see :func:`ib_pyro.atoms.on_or_off`."""
        if self._log_activation is None:
            return on_or_off(self.activation, on, off)
        return on_or_off(self._log_activation, on, off, is_log=True)

    @property
    def shift(self) -> Tensor | float:
        """Mean m of log eps."""
        return -0.5 * self.alpha.square() if self.unit_mean else 0.0

    @property
    def loc(self) -> Tensor:
        """Mean of log z, ``log f + m``, and -inf on the atom."""
        return self.on_or_off(self.finite_loc(), -math.inf).to(self.alpha.dtype)

    def loc_in(self, dtype: torch.dtype) -> Tensor:
        """Mean of log z in a type of one's own, and -inf on the atom, for a formula that passes no gradient there."""
        if self._log_activation is None:
            return self.on_or_off(self.finite_loc(dtype), -math.inf)
        return self._log_activation.to(dtype) + self._shift_of(self.alpha.to(dtype))

    def finite_loc(self, dtype: torch.dtype | None = None) -> Tensor:
        """Mean of log z, and on the atom a number, so that gradients are finite too.

        Args:
            dtype: The type to compute it in; by default that of the parameters, and float32 for the half types.
        """
        log_f = self._log_f(dtype)
        return log_f + self._shift_of(self.alpha.to(log_f.dtype)) if self.unit_mean else log_f

    def noise_variables(self, z: Tensor) -> dict[str, NoiseVariable]:
        """Return ``log_eps``, ``activation`` f and ``alpha`` of one draw, of the shape of z.

        0, the logarithm of no noise, would be a value like others on the atom, and would pull every mean towards it.

        Args:
            z: The draw, of the batch shape or with dimensions in front.
        """
        # log f is loc without its shift, and -inf on the atom: -inf - (-inf) is the NaN that belongs there.
        log_eps = z.log() - (self.loc - self.shift)
        noise = NoiseVariable(log_eps, "log of the noise eps, NaN where activation is 0")
        return {"log_eps": noise, **self.parameter_variables(z)}

    def rsample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw z, differentiable in the activation and in alpha."""
        shape = self._extended_shape(sample_shape)
        noise = torch.randn(shape, dtype=self.alpha.dtype, device=self.alpha.device)
        # With m = -alpha²/2, alpha n + m is alpha (n - alpha/2).
        log_eps = self.alpha * (noise.sub(self.alpha, alpha=0.5) if self.unit_mean else noise)
        if self._log_activation is not None:
            z = (self._log_f() + log_eps).exp().to(noise.dtype)
            # A positive activation must not round down onto the atom, where its density is zero.
            return self.on_or_off(z.clamp_min(_smallest(z.dtype)))
        z = self.activation * log_eps.exp()
        if z.dtype != torch.float16:
            return z
        # Nor here, while the atom itself keeps its slope, eps, as in the other types.
        return z.masked_fill((z == 0) & (self.activation > 0), _smallest(z.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density against Lebesgue measure plus a unit mass at zero."""
        if self._validate_args:
            self._validate_sample(value)
        dtype, (value, alpha) = raised(value, self.alpha)
        atom, loc = self.is_atom, self.finite_loc(alpha.dtype)
        density = log_normal_density(value, loc, alpha).masked_fill(atom, -math.inf)
        return density.masked_fill(atom & (value == 0), 0.0).to(dtype)

    def cdf(self, value: Tensor) -> Tensor:
        """``Phi((log z - log f - m) / alpha)``; on the atom a step at zero."""
        dtype, (value, alpha) = raised(value, self.alpha)
        mass = log_normal_cdf(value, self.finite_loc(alpha.dtype), alpha)
        return torch.where(self.is_atom, cdf_of_zero(value), mass).to(dtype)

    def icdf(self, value: Tensor) -> Tensor:
        """Quantile ``f exp(m + alpha Phi⁻¹(u))``, which is zero on the atom; NaN outside of [0, 1]."""
        dtype, (value, alpha) = raised(value, self.alpha)
        inside = (value >= 0) & (value <= 1)
        quantile = log_normal_icdf(value, self.finite_loc(alpha.dtype), alpha)
        return quantile.masked_fill(self.is_atom & inside, 0.0).to(dtype)

    @property
    def mean(self) -> Tensor:
        """``f exp(m + alpha²/2)``."""
        if self.unit_mean:
            return self.activation
        return self._scaled(0.5 * single_or_wider(self.alpha).square()).to(self.alpha.dtype)

    @property
    def variance(self) -> Tensor:
        """``mean² (exp(alpha²) - 1)``."""
        return self._spread().square().to(self.alpha.dtype)

    @property
    def stddev(self) -> Tensor:
        """Square root of the variance, which may itself leave the range of its type."""
        return self._spread().to(self.alpha.dtype)

    @property
    def mode(self) -> Tensor:
        """``f exp(m - alpha²)``, and zero on the atom."""
        alpha = single_or_wider(self.alpha)
        return self._scaled(self._shift_of(alpha) - alpha.square()).to(self.alpha.dtype)

    def entropy(self) -> Tensor:
        """``log f + m + ½ log(2 pi e alpha²)`` nats, and zero on the atom."""
        alpha = single_or_wider(self.alpha)
        entropy = self.finite_loc() + alpha.log() + 0.5 * math.log(2 * math.pi * math.e)
        return entropy.masked_fill(self.is_atom, 0.0).to(self.alpha.dtype)

    def _log_f(self, dtype: torch.dtype | None = None) -> Tensor:
        given = self.activation if self._log_activation is None else self._log_activation
        value = single_or_wider(given) if dtype is None else given.to(dtype)
        # Filling before the logarithm keeps the gradient at the atom zero instead of NaN.
        if self._log_activation is None:
            return value.masked_fill(self.is_atom, 1.0).log()
        return self.on_or_off(value)

    def _shift_of(self, alpha: Tensor) -> Tensor | float:
        return -0.5 * alpha.square() if self.unit_mean else 0.0

    def _scaled(self, log_factor: Tensor) -> Tensor:
        """``f`` times the exponential of a number, in float32 at least."""
        if self._log_activation is None:
            return single_or_wider(self.activation) * log_factor.exp()
        return (self._log_f() + log_factor).exp().masked_fill(self.is_atom, 0.0)

    def _spread(self) -> Tensor:
        alpha = single_or_wider(self.alpha)
        return self._scaled(self._shift_of(alpha) + alpha.square()) * relative_spread(alpha)


def _smallest(dtype: torch.dtype) -> float:
    """The smallest positive number that is used: in float16, whose normal numbers end at 6e-5, a subnormal one."""
    limits = torch.finfo(dtype)
    return limits.smallest_normal * (limits.eps if dtype == torch.float16 else 1.0)
