"""An activation times Gaussian noise, the noise of variational dropout."""

import math

import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.types import _size

from ib_pyro.checks import fails
from ib_pyro.choices import require_known
from ib_pyro.distributions.noisy_activation import NoisyActivation
from ib_pyro.distributions.supports import WithAtoms, cdf_of_zero
from ib_pyro.precision import broadcast_floats, raised

__all__ = ["MultiplicativeNormal"]

APPROXIMATIONS = ("molchanov", "kingma")


class MultiplicativeNormal(NoisyActivation):
    r"""The noisy activation ``z = f * eps`` with ``eps ~ N(1, alpha)``; alpha is the *variance*.

    The noise of Gaussian and of variational dropout (Kingma, Salimans & Welling 2015). Where f = 0, z is an
    atom at zero. The rate under a two-sided log-uniform prior does not depend on f.

    Densities, rates and their slopes are right to the digits of the type, wherever that holds them, for ``1e-30 <= |f|
    <= 1e30`` (in float16 1e-4 to 1e4) and ``1e-3 <= alpha <= 0.7``.

    Args:
        activation: f, real, any shape.
        alpha: Variance of eps, > 0, broadcastable to ``activation``.
        approximation: Which fit of the rate under a log-uniform prior to use: ``"molchanov"`` for every alpha,
            ``"kingma"`` for alpha <= 1; see :func:`ib_pyro.rates.gaussian_log_uniform_rate`.
        validate_args: Check the arguments and values.

    Raises:
        ValueError: If the approximation is unknown, or alpha > 1 under ``"kingma"``.
    """

    arg_constraints = {"activation": constraints.real, "alpha": constraints.positive}
    parameter_names = {"alpha": "variance of eps"}
    has_rsample = True

    def __init__(
        self,
        activation: Tensor | float,
        alpha: Tensor | float,
        *,
        approximation: str = "molchanov",
        validate_args: bool | None = None,
    ) -> None:
        require_known("approximation=", approximation, APPROXIMATIONS)
        self.activation, self.alpha = broadcast_floats(activation, alpha, names=("activation", "alpha"))
        self.approximation = approximation
        super().__init__(self.activation.shape, validate_args=validate_args)
        if self._validate_args and approximation == "kingma" and fails(self.alpha <= 1):
            raise ValueError(
                f"alpha reaches {self.alpha.max():.4g}, but Kingma's fit of the rate holds for alpha <= 1; "
                "bound alpha, or use approximation='molchanov'"
            )

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        """The real line; it has no smooth transform to itself where some activation is an atom."""
        return WithAtoms(constraints.real, self.is_atom)

    @property
    def is_atom(self) -> Tensor:
        """Where the activation is exactly zero, and z with it."""
        return self.activation == 0

    def rsample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw z, differentiable in the activation and in alpha."""
        shape = self._extended_shape(sample_shape)
        noise = torch.randn(shape, dtype=self.alpha.dtype, device=self.alpha.device)
        return self.activation * (1 + self.alpha.sqrt() * noise)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density against Lebesgue measure plus, where f = 0, a unit mass at zero."""
        if self._validate_args:
            self._validate_sample(value)
        atom = self.is_atom
        dtype, (value, f, alpha) = raised(value, self.activation, self.alpha)
        f = f.masked_fill(atom, 1.0)
        # In units of f, whose square may leave the range of the type where f does not.
        score = (value - f) / f / alpha.sqrt()
        density = -0.5 * (score.square() + alpha.log() + math.log(2 * math.pi)) - f.abs().log()
        return density.masked_fill(atom, -math.inf).masked_fill(atom & (value == 0), 0.0).to(dtype)

    def cdf(self, value: Tensor) -> Tensor:
        """``Phi((z - f) / (|f| sqrt(alpha)))``; on the atom a step at zero."""
        atom = self.is_atom
        dtype, (value, f, alpha) = raised(value, self.activation, self.alpha)
        f = f.masked_fill(atom, 1.0)
        mass = torch.special.ndtr((value - f) / f.abs() / alpha.sqrt())
        return torch.where(atom, cdf_of_zero(value), mass).to(dtype)

    def icdf(self, value: Tensor) -> Tensor:
        """Quantile ``f + |f| sqrt(alpha) Phi⁻¹(u)``, which is zero on the atom; NaN outside of [0, 1]."""
        inside = (value >= 0) & (value <= 1)
        dtype, (value, f, alpha) = raised(value, self.activation, self.alpha)
        quantile = f + f.abs() * (alpha.sqrt() * torch.special.ndtri(value))
        return quantile.masked_fill(self.is_atom & inside, 0.0).to(dtype)

    @property
    def mean(self) -> Tensor:
        """The activation."""
        return self.activation

    @property
    def variance(self) -> Tensor:
        """``alpha f²``."""
        dtype, (f, alpha) = raised(self.activation, self.alpha)
        return (alpha * f * f).to(dtype)

    @property
    def stddev(self) -> Tensor:
        """``sqrt(alpha) |f|``: the variance may leave the range of its type where this does not."""
        dtype, (f, alpha) = raised(self.activation, self.alpha)
        return (alpha.sqrt() * f.abs()).to(dtype)

    @property
    def mode(self) -> Tensor:
        """The activation."""
        return self.activation

    def entropy(self) -> Tensor:
        """``½ log(2 pi e alpha f²)`` nats, and zero on the atom."""
        dtype, (f, alpha) = raised(self.activation, self.alpha)
        log_f = f.masked_fill(self.is_atom, 1.0).abs().log()
        entropy = 0.5 * (math.log(2 * math.pi * math.e) + alpha.log()) + log_f
        return entropy.masked_fill(self.is_atom, 0.0).to(dtype)
