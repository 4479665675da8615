"""The factorised log-normal prior of a positive representation."""

import math

import torch
from pyro.distributions import LogNormal, constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.types import _size

from ib_pyro.distributions.flags import copy_flags
from ib_pyro.distributions.log_normal import (
    log_normal_cdf,
    log_normal_density,
    log_normal_icdf,
    relative_spread,
)
from ib_pyro.precision import broadcast_floats, raised

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
        self.loc, self.scale = broadcast_floats(loc, scale, names=("loc", "scale"))
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
        return copy_flags(self, new)

    def rsample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw z, differentiable in the parameters."""
        shape = self._extended_shape(sample_shape)
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return (self.loc + self.scale * noise).exp()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density, summed over the event; -inf at zero."""
        if self._validate_args:
            self._validate_sample(value)
        dtype, (value, loc, scale) = raised(value, self.loc, self.scale)
        return self._sum_event(log_normal_density(value, loc, scale)).to(dtype)

    def cdf(self, value: Tensor) -> Tensor:
        """``Phi((log z - loc) / scale)`` of a single unit.

        Raises:
            NotImplementedError: If there is an event, of which several orders exist.
        """
        self._require_single_units("cdf")
        dtype, parts = raised(value, self.loc, self.scale)
        return log_normal_cdf(*parts).to(dtype)

    def icdf(self, value: Tensor) -> Tensor:
        """Quantile ``exp(loc + scale Phi⁻¹(u))`` of a single unit.

        Raises:
            NotImplementedError: If there is an event, of which several orders exist.
        """
        self._require_single_units("icdf")
        dtype, parts = raised(value, self.loc, self.scale)
        return log_normal_icdf(*parts).to(dtype)

    @property
    def units(self) -> LogNormal:
        """The laws of single units, with the event's dimensions in the batch."""
        return LogNormal(self.loc, self.scale, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """``exp(loc + scale²/2)``."""
        dtype, (loc, scale) = raised(self.loc, self.scale)
        return (loc + 0.5 * scale.square()).exp().to(dtype)

    @property
    def variance(self) -> Tensor:
        """``mean² (exp(scale²) - 1)``."""
        return self._spread().square().to(self.loc.dtype)

    @property
    def stddev(self) -> Tensor:
        """Square root of the variance, which may itself leave the range of its type."""
        return self._spread().to(self.loc.dtype)

    @property
    def mode(self) -> Tensor:
        """``exp(loc - scale²)``."""
        dtype, (loc, scale) = raised(self.loc, self.scale)
        return (loc - scale.square()).exp().to(dtype)

    def entropy(self) -> Tensor:
        """``sum_j loc_j + ½ log(2 pi e scale_j²)`` nats."""
        dtype, (loc, scale) = raised(self.loc, self.scale)
        return self._sum_event(loc + scale.log() + 0.5 * math.log(2 * math.pi * math.e)).to(dtype)

    def _spread(self) -> Tensor:
        _, (loc, scale) = raised(self.loc, self.scale)
        return (loc + scale.square()).exp() * relative_spread(scale)

    def _sum_event(self, elementwise: Tensor) -> Tensor:
        dims = len(self.event_shape)
        return elementwise.flatten(-dims).sum(-1) if dims else elementwise

    def _require_single_units(self, what: str) -> None:
        if self.event_shape:
            raise NotImplementedError(
                f"an event of shape {tuple(self.event_shape)} has no {what}; that of its units is "
                f"FactorizedLogNormal(loc, scale).units.{what}(value)"
            )
