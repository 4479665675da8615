"""The logit of a relaxed gate: a concrete, that is logistic, variable whose temperature sharpens it to on or off."""

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.nn import functional as F
from torch.types import _size

from ib_pyro.distributions.flags import copy_flags
from ib_pyro.distributions.noisy_activation import NoiseVariable
from ib_pyro.precision import raised, single_or_wider

__all__ = ["GateLogit"]


class GateLogit(TorchDistribution):
    r"""The law of the logit l of a relaxed gate ``g = sigmoid(l)``, ``l = (mu + logistic noise) / t``.

    The binary concrete law (Maddison, Mnih & Teh 2017), taken at the logit, where no gate rounds to 0 or
    1: l is logistic with location mu / t and scale 1 / t. A gate is above one half with probability ``sigmoid(mu)`` at
    every temperature, and tends to a Bernoulli variable as t falls.

    Args:
        logits: The logit mu of the probability that the gate is on, any shape.
        temperature: t > 0.
        validate_args: Check the arguments and values.

    >>> GateLogit(torch.tensor(0.0), 0.1).log_prob(torch.tensor(0.0)).exp()  # t / 4
    tensor(0.0250)
    """

    arg_constraints = {"logits": constraints.real}
    support = constraints.real
    has_rsample = True

    def __init__(
        self, logits: Tensor, temperature: float = 0.1, *, validate_args: bool | None = None
    ) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature must be positive; got {temperature}")
        self.logits = torch.as_tensor(logits)
        self.temperature = temperature
        super().__init__(self.logits.shape, validate_args=validate_args)

    def expand(self, batch_shape: _size, _instance: object = None) -> "GateLogit":
        """Return the law with a larger batch shape."""
        new: Any = self._get_checked_instance(GateLogit, _instance)
        new.logits, new.temperature = self.logits.expand(torch.Size(batch_shape)), self.temperature
        super(GateLogit, new).__init__(new.logits.shape, validate_args=False)
        return copy_flags(self, new)

    @property
    def noise_free(self) -> Tensor:
        """The logit mu, at which the gate is the probability that it is on."""
        return self.logits

    def noise_variables(self, z: Tensor) -> dict[str, NoiseVariable]:
        """Return the gate and its probability of being off, of the shape of z.

        Args:
            z: A draw of the logit.
        """
        drop_prob = torch.sigmoid(-self.logits).expand(z.shape)
        return {
            "gate": NoiseVariable(
                torch.sigmoid(z), "relaxed gate, the share of the activation that is passed on"
            ),
            "drop_prob": NoiseVariable(drop_prob, "probability that the gate is off"),
        }

    def log_prob(self, value: Tensor) -> Tensor:
        """Return ``2 log sigmoid(s) - s + log t`` with ``s = t l - mu``."""
        if self._validate_args:
            self._validate_sample(value)
        dtype, (logits, value) = raised(self.logits, value)
        standard = self.temperature * value - logits
        return (2 * F.logsigmoid(standard) - standard + math.log(self.temperature)).to(dtype)

    def rsample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw l, differentiable in the logits."""
        like = single_or_wider(self.logits)
        # In PyTorch's way, into a tensor that is there, torch.func.vmap would take no draws.
        share = torch.rand(self._extended_shape(sample_shape), dtype=like.dtype, device=like.device)
        share = share.clamp_min(torch.finfo(like.dtype).tiny)
        noise = share.log() - torch.log1p(-share)
        return ((like + noise) / self.temperature).to(self.logits.dtype)

    def cdf(self, value: Tensor) -> Tensor:
        """Return ``sigmoid(t l - mu)``."""
        dtype, (logits, value) = raised(self.logits, value)
        return torch.sigmoid(self.temperature * value - logits).to(dtype)

    @property
    def mean(self) -> Tensor:
        """``mu / t``."""
        return self.logits / self.temperature

    @property
    def mode(self) -> Tensor:
        """The mean, since the law is symmetric."""
        return self.mean

    @property
    def variance(self) -> Tensor:
        """``pi² / (3 t²)``."""
        return torch.full_like(self.logits, math.pi**2 / (3 * self.temperature**2))

    def entropy(self) -> Tensor:
        """``2 - log t``, in nats."""
        return torch.full_like(self.logits, 2 - math.log(self.temperature))
