"""Bernoulli multiplicative noise: dropout."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions import ImproperUniform, constraints
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from ib_pyro.distributions import MultiplicativeBernoulli
from ib_pyro.nn.stochastic import StochasticLayer

__all__ = ["BinaryDropout"]


class BinaryDropout(StochasticLayer):
    """The noisy activation ``z = f(x) * eps`` with ``eps = 0`` or ``1 / (1 - p)``: dropout.

    Its KL to a log-uniform prior is infinite whatever the parameters, so nothing is charged: both sides of the
    site are masked, its rate is zero, and what remains is the distortion of a dropout network.

    Args:
        features: Network whose output, after the activation, is f(x).
        drop_prob: Probability p that a unit is dropped.
        activation: ``"relu"``, ``"softplus"``, ``"identity"``, or a function of tensors.
        event_dim: See :class:`StochasticLayer`.
        name: Name of the site.

    Raises:
        ValueError: If the drop probability is outside of [0, 1).
    """

    is_charged = False
    has_fixed_prior = True

    def __init__(
        self,
        features: nn.Module,
        drop_prob: float = 0.5,
        *,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        event_dim: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(features, activation=activation, event_dim=event_dim, name=name)
        self.drop_prob = drop_prob

    def check_option(self, name: str, value: Any) -> None:  # noqa: ANN401  (whatever is set)
        """Keep the drop probability in [0, 1), and refuse a prior."""
        super().check_option(name, value)
        if name == "prior" and value is not None:
            raise ValueError(
                "the two atoms of dropout have an infinite rate under every prior with a density, so that none is "
                "charged; give a prior to GaussianDropout, or to another layer whose noise has a density"
            )
        if name == "drop_prob" and not 0 <= value < 1:
            raise ValueError(f"drop_prob must be in [0, 1); got {value}")

    def posterior(self, x: Tensor) -> TorchDistributionMixin:
        """Return ``p(z|x)``, elementwise: its batch shape is that of f(x)."""
        return MultiplicativeBernoulli(self.activation_of(x), self.drop_prob, validate_args=False)

    def prior_distribution(self, event_shape: torch.Size) -> TorchDistributionMixin:
        """Return a stand-in for the prior that charges nothing."""
        prior = ImproperUniform(constraints.real, (), event_shape)
        return prior.mask(False)
