"""An activation times Bernoulli noise: binary dropout."""

import math

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions.utils import broadcast_all
from torch.types import _size

__all__ = ["MultiplicativeBernoulli"]


class MultiplicativeBernoulli(TorchDistribution):
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

    def __init__(
        self,
        activation: Tensor | float,
        drop_prob: Tensor | float,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.activation, self.drop_prob = broadcast_all(activation, drop_prob)
        super().__init__(self.activation.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        """The two atoms."""
        return _Atoms(self.activation / (1 - self.drop_prob))

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether draws are differentiable in every parameter that asks for a gradient."""
        return not self.drop_prob.requires_grad

    def expand(self, batch_shape: _size, _instance: object = None) -> "MultiplicativeBernoulli":
        """Return the distribution with its parameters expanded to ``batch_shape``."""
        batch_shape = torch.Size(batch_shape)
        if _instance is None and batch_shape == self.batch_shape:
            return self
        new = self._get_checked_instance(MultiplicativeBernoulli, _instance)
        new.activation = self.activation.expand(batch_shape)
        new.drop_prob = self.drop_prob.expand(batch_shape)
        super(MultiplicativeBernoulli, new).__init__(batch_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def noise_free(self) -> Tensor:
        """The activation itself, which is z with eps = 1."""
        return self.activation

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
        mass = torch.where(value == 0, self.drop_prob.log(), torch.log1p(-self.drop_prob))
        mass = torch.where(self.support.check(value), mass, -math.inf)
        return torch.where(self.activation == 0, torch.where(value == 0, 0.0, -math.inf), mass)

    @property
    def mean(self) -> Tensor:
        """The activation."""
        return self.activation

    @property
    def variance(self) -> Tensor:
        """``f² p / (1 - p)``."""
        return self.activation.square() * self.drop_prob / (1 - self.drop_prob)

    def entropy(self) -> Tensor:
        """Entropy of the mask in nats, and zero where f = 0."""
        entropy = torch.special.entr(self.drop_prob) + torch.special.entr(1 - self.drop_prob)
        return entropy.masked_fill(self.activation == 0, 0.0)


class _Atoms(constraints.Constraint):
    is_discrete = True

    def __init__(self, kept: Tensor) -> None:
        self.kept = kept

    def check(self, value: Tensor) -> Tensor:
        return (value == 0) | torch.isclose(value, self.kept, rtol=1e-5, atol=0.0)
