"""An activation times Gaussian noise, the noise of variational dropout."""

import math

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions.utils import broadcast_all
from torch.types import _size

__all__ = ["MultiplicativeNormal"]

APPROXIMATIONS = ("molchanov", "kingma")


class MultiplicativeNormal(TorchDistribution):
    r"""The noisy activation ``z = f * eps`` with ``eps ~ N(1, alpha)``; alpha is the *variance*.

    The noise of Gaussian and of variational dropout (Kingma, Salimans & Welling 2015). Where f = 0, z is an
    atom at zero. The rate under a two-sided log-uniform prior does not depend on f.

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
    support = constraints.real
    has_rsample = True

    def __init__(
        self,
        activation: Tensor | float,
        alpha: Tensor | float,
        *,
        approximation: str = "molchanov",
        validate_args: bool | None = None,
    ) -> None:
        if approximation not in APPROXIMATIONS:
            raise ValueError(f"approximation={approximation!r} is unknown; choose one of {APPROXIMATIONS}")
        self.activation, self.alpha = broadcast_all(activation, alpha)
        self.approximation = approximation
        super().__init__(self.activation.shape, validate_args=validate_args)
        if self._validate_args and approximation == "kingma" and (self.alpha > 1).any():
            raise ValueError(
                f"alpha reaches {self.alpha.max():.4g}, but Kingma's fit of the rate holds for alpha <= 1; "
                "bound alpha, or use approximation='molchanov'"
            )

    def expand(self, batch_shape: _size, _instance: object = None) -> "MultiplicativeNormal":
        """Return the distribution with its parameters expanded to ``batch_shape``."""
        batch_shape = torch.Size(batch_shape)
        if _instance is None and batch_shape == self.batch_shape:
            return self
        new = self._get_checked_instance(MultiplicativeNormal, _instance)
        new.activation = self.activation.expand(batch_shape)
        new.alpha = self.alpha.expand(batch_shape)
        new.approximation = self.approximation
        super(MultiplicativeNormal, new).__init__(batch_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def is_atom(self) -> Tensor:
        """Where the activation is exactly zero, and z with it."""
        return self.activation == 0

    @property
    def noise_free(self) -> Tensor:
        """The activation itself, which is z with eps = 1."""
        return self.activation

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
        f = self.activation.masked_fill(atom, 1.0)
        variance = self.alpha * f.square()
        density = -0.5 * ((value - f).square() / variance + variance.log() + math.log(2 * math.pi))
        return torch.where(atom, torch.where(value == 0, 0.0, -math.inf), density)

    @property
    def mean(self) -> Tensor:
        """The activation."""
        return self.activation

    @property
    def variance(self) -> Tensor:
        """``alpha f²``."""
        return self.alpha * self.activation.square()

    @property
    def mode(self) -> Tensor:
        """The activation."""
        return self.activation

    def entropy(self) -> Tensor:
        """``½ log(2 pi e alpha f²)`` nats, and zero on the atom."""
        f = self.activation.masked_fill(self.is_atom, 1.0)
        entropy = 0.5 * (math.log(2 * math.pi * math.e) + self.alpha.log()) + f.abs().log()
        return entropy.masked_fill(self.is_atom, 0.0)
