"""Dropout whose probability is learned, by gates that are relaxed to be differentiable in it."""

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from ib_pyro.checks import checks_values, fails
from ib_pyro.distributions import GateLogit
from ib_pyro.nn.stochastic import StochasticLayer

__all__ = ["ConcreteDropout"]


class ConcreteDropout(StochasticLayer):
    r"""Dropout with a learned probability, ``f(x) g / (1 - p)`` with a relaxed gate g a unit.

    Gal, Hron & Kendall (2017), "Concrete Dropout": ``g = sigmoid((logit(1 - p) + logistic noise) / t)``, a binary
    concrete variable, which is near 0 with probability p and near 1 otherwise. The layer's site is the *logit* of the
    gates, of the shape of f(x), under gates of probability ``prior_drop_prob``; the layer returns what they let
    through.

    The rate ``d coth(d / 2) - 2``, d the difference of the logits of p and of the prior's, is the exact divergence of
    the relaxed gates, at every temperature. That of the Bernoulli gates which the paper charges, the negative entropy
    of p but for a constant, is smaller, and bounds nothing for gates that are relaxed. The paper's second term, the
    weight decay of what follows, is left to the optimiser.

    The gates know nothing of x, which reaches what follows beside them: a program with this layer is
    ``Bottleneck(..., conditional=True)``. They are drawn for each sample; with beta = 1/N their rate is charged once
    for the set, as that of a mask on the weights.

    Args:
        features: Network whose output, after the activation, is f(x).
        drop_prob: Initial probability p that a unit is dropped.
        activation: ``"relu"``, ``"softplus"``, ``"identity"``, or a function of tensors.
        units: Learn one p for each of so many units (channels); by default one for the layer.
        prior_drop_prob: That of the prior.
        temperature: t, as in the paper.
        event_dim: See :class:`StochasticLayer`.
        name: Name of the site.

    Raises:
        ValueError: If a probability is not within (0, 1), or the temperature not positive.

    >>> layer = ConcreteDropout.linear(4, 3)
    >>> layer(torch.rand(5, 4)).shape
    torch.Size([5, 3])
    """

    has_fixed_prior = True

    def __init__(
        self,
        features: nn.Module,
        drop_prob: float = 0.1,
        *,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        units: int | None = None,
        prior_drop_prob: float = 0.5,
        temperature: float = 0.1,
        event_dim: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(features, activation=activation, event_dim=event_dim, name=name)
        _require_probability("drop_prob", drop_prob)
        self.prior_drop_prob, self.temperature = prior_drop_prob, temperature
        start = math.log1p(-drop_prob) - math.log(drop_prob)
        self.keep_logit = nn.Parameter(torch.full(() if units is None else (units,), start))

    def check_option(self, name: str, value: Any) -> None:  # noqa: ANN401  (whatever is set)
        """Keep probabilities and temperature in their ranges, and refuse what has no effect."""
        super().check_option(name, value)
        if name == "prior_drop_prob":
            _require_probability(name, value)
        if name == "temperature" and not value > 0:
            raise ValueError(f"temperature must be positive; got {value}")
        if name == "drop_prob":
            raise ValueError("drop_prob cannot be set; it is a function of keep_logit, so set that in place")
        if name == "prior" and value is not None:
            raise ValueError("the prior of gates is given by prior_drop_prob")

    @property
    def drop_prob(self) -> Tensor:
        """Probability p that a unit is dropped, a scalar or one for each unit."""
        return torch.sigmoid(-self.keep_logit)

    def posterior(self, x: Tensor) -> GateLogit:
        """Return the law of the gates' logits, elementwise: its batch shape is that of f(x)."""
        return self._gates_of(self.activation_of(x))

    def prior_distribution(self, event_shape: torch.Size) -> TorchDistributionMixin:
        """Return the law of the logits of gates that drop a unit with ``prior_drop_prob``."""
        logit = math.log1p(-self.prior_drop_prob) - math.log(self.prior_drop_prob)
        like = self._reference()
        logits = torch.full(event_shape, logit, dtype=like.dtype, device=like.device)
        return GateLogit(logits, self.temperature, validate_args=False).to_event(len(event_shape))

    def forward(self, x: Tensor) -> Tensor:
        """Sample the gates' logits at the layer's site, and return what the gates let through of f(x).

        Args:
            x: The layer's input, ``[batch, ...]``.

        Returns:
            ``f(x) g / (1 - p)``, of the shape of ``features(x)``; f(x) with the noise off.

        Raises:
            ValueError: If the activation or p is NaN; names the site.
        """
        f = self.activation_of(x)
        if checks_values() and fails(~f.isnan()):
            # The gates, at which a layer looks, do not see it.
            count = int(f.isnan().sum())
            raise ValueError(
                f"site {self.site_name!r}: activation has {count} NaN of {f.numel()} values; look for NaN in the "
                "layer's input and in its parameters (a lower learning rate often helps)"
            )
        try:
            gates = self._gates_of(f)
        except ValueError as error:
            raise ValueError(f"site {self.site_name!r}: {error}") from error
        logits = self._emit(gates, x)
        # The share first: without noise it is 1 to the last digit.
        return f * (torch.sigmoid(logits) / torch.sigmoid(gates.logits))

    def _gates_of(self, f: Tensor) -> GateLogit:
        logit: Tensor = self.keep_logit
        if logit.dim():
            # Units are the first of a sample's own dimensions: features, or channels.
            event_dim = self._event_dim_of(f.shape)
            if len(logit) != f.shape[-event_dim]:
                raise ValueError(
                    f"units={len(logit)}, but features give {f.shape[-event_dim]} units (channels)"
                )
            logit = logit.reshape(-1, *(1,) * (event_dim - 1))
        return GateLogit(logit.expand(f.shape), self.temperature, validate_args=False)


def _require_probability(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must be within (0, 1); got {value}")
