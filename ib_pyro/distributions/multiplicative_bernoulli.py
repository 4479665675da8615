"""An activation times Bernoulli noise: binary dropout."""

import math

import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.types import _size

from ib_pyro.distributions.noisy_activation import NoisyActivation
from ib_pyro.distributions.supports import Atoms
from ib_pyro.precision import broadcast_floats, promoted, raised

__all__ = ["MultiplicativeBernoulli"]


class MultiplicativeBernoulli(NoisyActivation):
    r"""The noisy activation ``z = f * eps`` with ``eps = 0`` or ``1 / (1 - p)``: dropout.

    z lives on two atoms, 0 with mass p and f / (1 - p) with mass 1 - p (one atom where f = 0); densities are
    taken against counting measure on them. Draws are differentiable in the activation, not in the drop
    probability. The KL to a log-uniform prior is infinite, since that has no atom at f / (1 - p): dropout is
    the special case in which the regulariser is constant in the parameters.

    Args:
        activation: f, real, any shape.
        drop_prob: p, in [0, 1), broadcastable to ``activation``.
        validate_args: Check the arguments and values.
    """

    arg_constraints = {"activation": constraints.real, "drop_prob": constraints.half_open_interval(0.0, 1.0)}
    parameter_names = {"drop_prob": "probability that a unit is dropped"}

    def __init__(
        self,
        activation: Tensor | float,
        drop_prob: Tensor | float,
        *,
        validate_args: bool | None = None,
    ) -> None:
        names = ("activation", "drop_prob")
        self.activation, self.drop_prob = broadcast_floats(activation, drop_prob, names=names)
        super().__init__(self.activation.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        """The two atoms."""
        return Atoms(self.activation / (1 - self.drop_prob))

    @property
    def has_rsample(self) -> bool:
        """Whether draws are differentiable in every parameter that asks for a gradient, unless it was set."""
        chosen = self.__dict__.get("has_rsample")
        return not self.drop_prob.requires_grad if chosen is None else bool(chosen)

    @has_rsample.setter
    def has_rsample(self, value: bool) -> None:
        self.__dict__["has_rsample"] = value

    def rsample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw z, differentiable in the activation."""
        shape = self._extended_shape(sample_shape)
        keep = torch.bernoulli((1 - self.drop_prob.detach()).expand(shape))
        return self.activation * (keep / (1 - self.drop_prob))

    def sample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw z."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log mass of the atoms."""
        if self._validate_args:
            self._validate_sample(value)
        dtype, off = promoted(value, self.drop_prob), self.activation == 0
        is_zero, is_kept = value == 0, self.support.is_kept(value)
        _, (drop_prob, _) = raised(self.drop_prob, value)
        # Where one is taken, the other may have no finite slope.
        dropped = drop_prob.masked_fill(~is_zero, 0.5).log()
        mass = torch.where(is_zero, dropped, torch.log1p(-drop_prob.masked_fill(is_zero, 0.5)))
        mass = mass.masked_fill(off | ~(is_zero | is_kept), -math.inf)
        return mass.masked_fill(off & is_zero, 0.0).to(dtype)

    def cdf(self, value: Tensor) -> Tensor:
        """Mass of the atoms up to z: p at zero, 1 - p at f / (1 - p), and 1 at zero where f = 0."""
        dtype, kept = promoted(value, self.drop_prob), self.support.kept
        _, (drop_prob, _) = raised(self.drop_prob, value)
        drop_prob = drop_prob.masked_fill(self.activation == 0, 1.0)
        reached = (value >= kept) | self.support.is_kept(value)
        mass = drop_prob * (value >= 0) + (1 - drop_prob) * reached
        return mass.masked_fill(value.isnan(), math.nan).to(dtype)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Refuse: the atoms differ from element to element, and are one where f = 0.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "the two atoms of Bernoulli noise, 0 and activation / (1 - drop_prob), differ from element to element and "
            "coincide where the activation is zero, so they cannot be enumerated; enumerate the mask as a site of "
            "pyro.distributions.Bernoulli and multiply by it"
        )

    @property
    def mean(self) -> Tensor:
        """The activation."""
        return self.activation

    @property
    def variance(self) -> Tensor:
        """``f² p / (1 - p)``."""
        dtype, (f, drop_prob) = raised(self.activation, self.drop_prob)
        # In this order the square of f never stands alone.
        return (f * (drop_prob / (1 - drop_prob)) * f).to(dtype)

    @property
    def stddev(self) -> Tensor:
        """``|f| sqrt(p / (1 - p))``: the variance may leave the range of its type where this does not."""
        dtype, (f, drop_prob) = raised(self.activation, self.drop_prob)
        return (f.abs() * (drop_prob / (1 - drop_prob)).sqrt()).to(dtype)

    def entropy(self) -> Tensor:
        """Entropy of the mask in nats, and zero where f = 0."""
        dtype, (drop_prob,) = raised(self.drop_prob)
        entropy = torch.special.entr(drop_prob) + torch.special.entr(1 - drop_prob)
        return entropy.masked_fill(self.activation == 0, 0.0).to(dtype)
