"""A non-negative activation times log-normal noise, with an atom where the activation is zero."""

import math

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions.utils import broadcast_all
from torch.types import _size

__all__ = ["MultiplicativeLogNormal"]


class MultiplicativeLogNormal(TorchDistribution):
    r"""The noisy activation ``z = f * eps`` of Information Dropout.

    ``log eps ~ N(m, alpha²)``, with m = 0 (median 1, as in the authors' code) or m = -alpha²/2
    (``unit_mean``). Where f = 0 the noise has nothing to multiply: z *is* zero, an atom of mass one. Densities
    are taken against Lebesgue measure on (0, inf) plus a unit mass at zero (Achille & Soatto 2016, section 5).

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
    support = constraints.nonnegative
    has_rsample = True

    def __init__(
        self,
        activation: Tensor | float,
        alpha: Tensor | float,
        *,
        unit_mean: bool = False,
        validate_args: bool | None = None,
    ) -> None:
        if isinstance(activation, Tensor) and isinstance(alpha, Tensor) and activation.shape == alpha.shape:
            self.activation, self.alpha = activation, alpha
        else:
            self.activation, self.alpha = broadcast_all(activation, alpha)
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
        log_activation, alpha = broadcast_all(log_activation, alpha)
        new = cls(log_activation.exp(), alpha, unit_mean=unit_mean, validate_args=validate_args)
        new._log_activation = log_activation
        return new

    def expand(self, batch_shape: _size, _instance: object = None) -> "MultiplicativeLogNormal":
        """Return the distribution with its parameters expanded to ``batch_shape``."""
        batch_shape = torch.Size(batch_shape)
        if _instance is None and batch_shape == self.batch_shape:
            return self
        new = self._get_checked_instance(MultiplicativeLogNormal, _instance)
        new.activation = self.activation.expand(batch_shape)
        new.alpha = self.alpha.expand(batch_shape)
        log_f = self._log_activation
        new._log_activation = None if log_f is None else log_f.expand(batch_shape)
        new.unit_mean = self.unit_mean
        super(MultiplicativeLogNormal, new).__init__(batch_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def is_atom(self) -> Tensor:
        """Where the activation is exactly zero, and z with it."""
        return self.activation == 0 if self._log_activation is None else self._log_activation == -math.inf

    @property
    def shift(self) -> Tensor | float:
        """Mean m of log eps."""
        return -0.5 * self.alpha.square() if self.unit_mean else 0.0

    @property
    def loc(self) -> Tensor:
        """Mean of log z, ``log f + m``, and -inf on the atom."""
        return self._finite_loc().masked_fill(self.is_atom, -math.inf)

    @property
    def noise_free(self) -> Tensor:
        """The activation itself, which is z with eps = 1."""
        return self.activation

    def rsample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw z, differentiable in the activation and in alpha."""
        shape = self._extended_shape(sample_shape)
        noise = torch.randn(shape, dtype=self.alpha.dtype, device=self.alpha.device)
        log_eps = self.alpha * noise + self.shift if self.unit_mean else self.alpha * noise
        if self._log_activation is None:
            return self.activation * log_eps.exp()
        z = (self._finite_loc(shifted=False) + log_eps).exp()
        # A positive activation must not round down onto the atom, where its density is zero.
        return z.clamp_min(torch.finfo(z.dtype).tiny).masked_fill(self.is_atom, 0.0)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density against Lebesgue measure plus a unit mass at zero."""
        if self._validate_args:
            self._validate_sample(value)
        positive = value > 0
        log_z = torch.where(positive, value, 1.0).log()
        score = (log_z - self._finite_loc()) / self.alpha
        density = -0.5 * score.square() - self.alpha.log() - 0.5 * math.log(2 * math.pi) - log_z
        density = torch.where(positive, density, -math.inf)
        return torch.where(self.is_atom, torch.where(value == 0, 0.0, -math.inf), density)

    @property
    def mean(self) -> Tensor:
        """``f exp(m + alpha²/2)``."""
        return self.activation if self.unit_mean else self.activation * (0.5 * self.alpha.square()).exp()

    @property
    def variance(self) -> Tensor:
        """``mean² (exp(alpha²) - 1)``."""
        return self.mean.square() * torch.expm1(self.alpha.square())

    @property
    def mode(self) -> Tensor:
        """``f exp(m - alpha²)``, and zero on the atom."""
        return self.activation * (self.shift - self.alpha.square()).exp()

    def entropy(self) -> Tensor:
        """``log f + m + ½ log(2 pi e alpha²)`` nats, and zero on the atom."""
        entropy = self._finite_loc() + self.alpha.log() + 0.5 * math.log(2 * math.pi * math.e)
        return entropy.masked_fill(self.is_atom, 0.0)

    def _finite_loc(self, *, shifted: bool = True) -> Tensor:
        # Filling before the logarithm keeps the gradient at the atom zero instead of NaN.
        if self._log_activation is None:
            log_f = self.activation.masked_fill(self.is_atom, 1.0).log()
        else:
            log_f = self._log_activation.masked_fill(self.is_atom, 0.0)
        return log_f + self.shift if shifted and self.unit_mean else log_f
