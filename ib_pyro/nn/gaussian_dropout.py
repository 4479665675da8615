"""Gaussian multiplicative noise whose variance is shared over samples: variational dropout."""

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from ib_pyro.choices import require_known
from ib_pyro.distributions import MultiplicativeNormal, ZeroInflatedLogUniform
from ib_pyro.distributions.multiplicative_normal import APPROXIMATIONS
from ib_pyro.nn.stochastic import StochasticLayer
from ib_pyro.priors.given import Prior

__all__ = ["GaussianDropout"]


class GaussianDropout(StochasticLayer):
    """The noisy activation ``z = f(x) * eps`` with ``eps ~ N(1, alpha)``, alpha shared over samples.

    With beta = 1/N this is variational dropout (Kingma, Salimans & Welling 2015, eq. 1). The prior is
    log-uniform in ``|z|``, with a gate for units that are off. Kingma's cubic needs ``alpha <= 1``, and alpha is
    then parametrised as a sigmoid; under Molchanov's fit it is an exponential, without bound.

    Args:
        features: Network whose output, after the activation, is f(x).
        alpha: Initial variance of eps.
        activation: ``"relu"``, ``"softplus"``, ``"identity"``, or a function of tensors.
        learn_alpha: Learn alpha, or keep it fixed (Gaussian dropout, Srivastava et al. 2014).
        units: Learn one alpha for each of so many units (channels); by default one for the layer.
        approximation: ``"molchanov"`` or ``"kingma"``; see :func:`ib_pyro.rates.gaussian_log_uniform_rate`.
        gate: Mass of the log-uniform prior at zero; 1 makes a unit that is off free.
        prior: Another prior; see :class:`StochasticLayer`.
        event_dim: See :class:`StochasticLayer`.
        name: Name of the site.

    Raises:
        ValueError: If alpha or gate is out of its range, or the approximation is unknown.
    """

    def __init__(
        self,
        features: nn.Module,
        alpha: float = 0.5,
        *,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        learn_alpha: bool = True,
        units: int | None = None,
        approximation: str = "molchanov",
        gate: float = 1.0,
        prior: Prior | None = None,
        event_dim: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(features, activation=activation, event_dim=event_dim, name=name)
        self.prior = prior
        self.approximation, self.gate, self.learn_alpha = approximation, gate, learn_alpha
        if not alpha > 0 or (self.bounded and alpha >= 1):
            raise ValueError(
                f"alpha={alpha} is out of range: it must be positive{', and below 1' * self.bounded}"
            )
        start = math.log(alpha / (1 - alpha)) if self.bounded else math.log(alpha)
        raw_alpha = torch.full(() if units is None else (units,), start)
        if learn_alpha:
            self.raw_alpha = nn.Parameter(raw_alpha)
        else:
            self.register_buffer("raw_alpha", raw_alpha)

    def check_option(self, name: str, value: Any) -> None:  # noqa: ANN401  (whatever is set)
        """Keep gate and approximation in their ranges, and refuse to give ``raw_alpha`` another meaning later."""
        super().check_option(name, value)
        if name == "approximation":
            require_known("approximation=", value, APPROXIMATIONS)
        if name == "gate" and not 0 <= value <= 1:
            raise ValueError(f"gate is a probability; got {value}")
        if name in ("alpha", "bounded"):
            raise ValueError(f"{name} cannot be set; alpha is a function of raw_alpha, so set that in place")
        if name in ("approximation", "learn_alpha") and value != self.__dict__.get(name, value):
            instead = "raw_alpha.requires_grad" if name == "learn_alpha" else "another layer"
            raise ValueError(f"{name} says what raw_alpha is, and is kept as built; use {instead}")

    @property
    def has_fixed_prior(self) -> bool:  # type: ignore[override]
        """Whether the prior is the log-uniform one."""
        return self.prior is None

    @property
    def bounded(self) -> bool:
        """Whether alpha is kept below 1, as Kingma's fit of the rate needs."""
        return self.approximation == "kingma"

    @property
    def alpha(self) -> Tensor:
        """Variance of eps, a scalar or one for each unit."""
        raw: Tensor = self.raw_alpha
        return raw.sigmoid() if self.bounded else raw.exp()

    def posterior(self, x: Tensor) -> MultiplicativeNormal:
        """Return ``p(z|x)``, elementwise: its batch shape is that of f(x)."""
        f = self.activation_of(x)
        alpha = self.alpha
        if alpha.dim():
            # Units are the first of a sample's own dimensions: features, or channels.
            event_dim = self._event_dim_of(f.shape)
            if len(alpha) != f.shape[-event_dim]:
                raise ValueError(
                    f"units={len(alpha)}, but features give {f.shape[-event_dim]} units (channels)"
                )
            alpha = alpha.reshape(-1, *(1,) * (event_dim - 1))
        return MultiplicativeNormal(f, alpha, approximation=self.approximation, validate_args=False)

    def prior_distribution(self, event_shape: torch.Size) -> TorchDistributionMixin:
        """Return the prior that is log-uniform in ``|z|``, or the one that was given."""
        given = self.given_prior(event_shape)
        if given is not None:
            return given
        prior = ZeroInflatedLogUniform(self.gate, two_sided=True, like=self._reference())
        return prior.expand(event_shape).to_event(len(event_shape))
