"""The factorised log-normal prior of a positive representation."""

import math

import torch
from pyro.distributions import LogNormal, constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions.utils import broadcast_all
from torch.types import _size

__all__ = ["FactorizedLogNormal"]


class FactorizedLogNormal(TorchDistribution):
    r"""Independent log-normal units, the prior of a softplus representation.

    ``q(z) = prod_j LogNormal(z_j; loc_j, scale_j)``; the event shape is that of the parameters
    (Achille & Soatto 2016, section 5).

    Args:
        loc: Mean of log z, of the event's shape.
        scale: Standard deviation of log z, > 0, broadcastable to ``loc``.
        validate_args: Check the arguments and values.

    >>> FactorizedLogNormal(torch.zeros(3, 2), torch.ones(3, 2)).expand([5]).sample().shape
    torch.Size([5, 3, 2])
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    has_rsample = True

    def __init__(
        self, loc: Tensor | float, scale: Tensor | float, *, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(torch.Size(), self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> constraints.Constraint:
        """Positive tensors of the event's shape."""
        return constraints.independent(constraints.positive, len(self.event_shape))

    @classmethod
    def infer_shapes(cls, **arg_shapes: torch.Size) -> tuple[torch.Size, torch.Size]:
        """Return the empty batch shape and the event shape for parameters of the given shapes."""
        return torch.Size(), torch.broadcast_shapes(*arg_shapes.values())

    def expand(self, batch_shape: _size, _instance: object = None) -> "FactorizedLogNormal":
        """Return the prior with its parameters expanded to ``batch_shape + event_shape``."""
        batch_shape = torch.Size(batch_shape)
        if _instance is None and batch_shape == self.batch_shape:
            return self
        new = self._get_checked_instance(FactorizedLogNormal, _instance)
        missing = (1,) * (len(batch_shape) - len(self.batch_shape))
        for name in ("loc", "scale"):
            parameter = getattr(self, name)
            # New batch dimensions stand to the left of the event, whose own shape never broadcasts.
            parameter = parameter.reshape(missing + parameter.shape)
            setattr(new, name, parameter.expand(batch_shape + self.event_shape))
        super(FactorizedLogNormal, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def rsample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw z, differentiable in the parameters."""
        shape = self._extended_shape(sample_shape)
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return (self.loc + self.scale * noise).exp()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density, summed over the event; -inf at zero."""
        if self._validate_args:
            self._validate_sample(value)
        positive = value > 0
        log_z = torch.where(positive, value, 1.0).log()
        score = (log_z - self.loc) / self.scale
        density = -0.5 * score.square() - self.scale.log() - 0.5 * math.log(2 * math.pi) - log_z
        return self._sum_event(torch.where(positive, density, -math.inf))

    @property
    def units(self) -> LogNormal:
        """The laws of single units, with the event's dimensions in the batch."""
        return LogNormal(self.loc, self.scale, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """``exp(loc + scale²/2)``."""
        return (self.loc + 0.5 * self.scale.square()).exp()

    @property
    def variance(self) -> Tensor:
        """``mean² (exp(scale²) - 1)``."""
        return self.mean.square() * torch.expm1(self.scale.square())

    @property
    def mode(self) -> Tensor:
        """``exp(loc - scale²)``."""
        return (self.loc - self.scale.square()).exp()

    def entropy(self) -> Tensor:
        """``sum_j loc_j + ½ log(2 pi e scale_j²)`` nats."""
        return self._sum_event(self.loc + self.scale.log() + 0.5 * math.log(2 * math.pi * math.e))

    def _sum_event(self, elementwise: Tensor) -> Tensor:
        dims = len(self.event_shape)
        return elementwise.flatten(-dims).sum(-1) if dims else elementwise
