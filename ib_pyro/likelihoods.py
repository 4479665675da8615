"""Likelihoods p(y|z): from a decoder's output to a distribution over one sample's y."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import torch
from pyro.distributions import Bernoulli, Categorical, Normal
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.nn import functional as F
from torch.types import _size

__all__ = ["LIKELIHOODS", "Likelihood", "check_target", "resolve_likelihood"]

Likelihood = Callable[[Any], TorchDistributionMixin]


def categorical(logits: Tensor) -> TorchDistributionMixin:
    """Class labels given logits ``[batch, classes]``."""
    # Pyro's own checks cost more than the density; the program checks labels once, in check_target.
    return _SoftmaxCategorical(logits, validate_args=False)


def bernoulli(logits: Tensor) -> TorchDistributionMixin:
    """Binary y given logits ``[batch, ...]``."""
    return Bernoulli(logits=logits).to_event(logits.dim() - 1)


def normal(output: Tensor | tuple[Tensor, Tensor]) -> TorchDistributionMixin:
    """Real y given a mean ``[batch, ...]`` (unit variance), or a pair of mean and standard deviation."""
    loc, scale = output if isinstance(output, tuple) else (output, torch.ones_like(output))
    return Normal(loc, scale).to_event(loc.dim() - 1)


LIKELIHOODS: dict[str, Likelihood] = {"bernoulli": bernoulli, "categorical": categorical, "normal": normal}


def resolve_likelihood(likelihood: str | Likelihood) -> Likelihood:
    """Return the likelihood of that name, or the function itself.

    Raises:
        ValueError: If the name is unknown; says the nearest ones.
    """
    if callable(likelihood):
        return likelihood
    if likelihood not in LIKELIHOODS:
        near = get_close_matches(str(likelihood), LIKELIHOODS) or sorted(LIKELIHOODS)
        raise ValueError(
            f"likelihood={likelihood!r} is unknown; did you mean {' or '.join(map(repr, near))}? "
            "A function from the decoder's output to a distribution also works"
        )
    return LIKELIHOODS[likelihood]


def check_target(y: Tensor, likelihood: TorchDistributionMixin, batch_size: int) -> None:
    """Raise a ValueError that says what is wrong with the target of a batch, if anything is.

    Args:
        y: The target, ``[batch, ...]``.
        likelihood: Its distribution.
        batch_size: Number of samples in the batch.
    """
    if likelihood.batch_shape[-1:] != (batch_size,):
        raise ValueError(
            f"site 'y': the likelihood has batch shape {tuple(likelihood.batch_shape)} for a batch of {batch_size}; "
            "move a sample's own dimensions into the event with .to_event()"
        )
    if y.shape[:1] != (batch_size,):
        count = len(y) if y.dim() else "a single number instead of"
        raise ValueError(f"site 'y': {count} targets for {batch_size} inputs; pass one for each")
    if y.shape[1:] != likelihood.event_shape:
        # Broadcasting would score each target against every prediction, without a word.
        raise ValueError(
            f"site 'y': one target has shape {tuple(y.shape[1:])}, but the likelihood has event shape "
            f"{tuple(likelihood.event_shape)}; reshape y, or the decoder's output"
        )
    if isinstance(likelihood, Categorical):
        _check_labels(y, likelihood.logits.shape[-1])


class _SoftmaxCategorical(Categorical):
    """A categorical that normalises its logits by one fused kernel, as ``F.cross_entropy`` does."""

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.logits = self._param = F.log_softmax(logits, dim=-1)
        self._num_events = logits.shape[-1]
        torch.distributions.Distribution.__init__(self, logits.shape[:-1], validate_args=validate_args)

    def expand(self, batch_shape: _size, _instance: object = None) -> Categorical:
        if _instance is None and torch.Size(batch_shape) == self.batch_shape:
            return self
        return super().expand(batch_shape, self._get_checked_instance(_SoftmaxCategorical, _instance))


def _check_labels(y: Tensor, num_classes: int) -> None:
    if y.is_floating_point():
        raise ValueError(f"site 'y': labels must be whole numbers (int64); got {y.dtype}")
    low, high = torch.aminmax(y)
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"site 'y': labels reach from {int(low)} to {int(high)}, but the decoder gives {num_classes} classes "
            f"(0 to {num_classes - 1}); relabel, or widen the decoder"
        )
