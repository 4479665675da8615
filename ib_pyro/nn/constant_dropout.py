"""Log-normal noise of one constant scale: the baseline that learns nothing about its noise."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from ib_pyro.distributions import MultiplicativeLogNormal, ZeroInflatedLogUniform
from ib_pyro.nn.stochastic import StochasticLayer
from ib_pyro.priors.given import Prior
from ib_pyro.rates import log_uniform_log_c

__all__ = ["ConstantDropout"]


class ConstantDropout(StochasticLayer):
    """The noisy activation ``z = f(x) * eps`` with ``log eps ~ N(0, alpha²)`` and alpha fixed.

    Under the log-uniform prior with ``alpha_max = alpha`` and a gate of 1 the rate is zero, on and off the
    atom: constant in the parameters (the baseline of Achille & Soatto 2016, Figure 3a).

    Args:
        features: Network whose output, after the activation, is f(x).
        alpha: Standard deviation of log eps.
        activation: ``"relu"``, ``"softplus"``, or a function with non-negative values.
        unit_mean: Give eps mean 1 instead of median 1.
        prior: Another prior; see :class:`StochasticLayer`.
        event_dim: See :class:`StochasticLayer`.
        name: Name of the site.

    Raises:
        ValueError: If alpha is not positive.
    """

    def __init__(
        self,
        features: nn.Module,
        alpha: float = 0.7,
        *,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        unit_mean: bool = False,
        prior: Prior | None = None,
        event_dim: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(features, activation=activation, event_dim=event_dim, name=name)
        self.alpha, self.unit_mean, self.prior = alpha, unit_mean, prior

    @property
    def has_fixed_prior(self) -> bool:  # type: ignore[override]
        """Whether the prior is the log-uniform one under which this noise is free."""
        return self.prior is None

    def check_option(self, name: str, value: Any) -> None:  # noqa: ANN401  (whatever is set)
        """Keep alpha a positive number."""
        super().check_option(name, value)
        if name == "alpha" and isinstance(value, Tensor):
            raise ValueError(
                "alpha is one fixed number; to learn it, or for one a unit, use InformationDropout"
            )
        if name == "alpha" and not value > 0:
            raise ValueError(f"alpha must be positive; got {value}")

    def posterior(self, x: Tensor) -> MultiplicativeLogNormal:
        """Return ``p(z|x)``, elementwise: its batch shape is that of f(x)."""
        f = self.activation_of(x)
        return MultiplicativeLogNormal(f, self.alpha, unit_mean=self.unit_mean, validate_args=False)

    def prior_distribution(self, event_shape: torch.Size) -> TorchDistributionMixin:
        """Return the log-uniform prior under which this noise is free, or the one that was given."""
        given = self.given_prior(event_shape)
        if given is not None:
            return given
        log_c = log_uniform_log_c(self.alpha)
        prior = ZeroInflatedLogUniform(1.0, log_c=log_c, like=self._reference())
        return prior.expand(event_shape).to_event(len(event_shape))
