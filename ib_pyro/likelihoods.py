"""Likelihoods p(y|z): from a decoder's output to a distribution over one sample's y."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions import Categorical as PyroCategorical
from pyro.distributions import Normal, ProjectedNormal
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions import Categorical, ContinuousBernoulli, OneHotCategorical
from torch.distributions.constraints import Constraint, boolean, nonnegative_integer
from torch.nn import functional as F
from torch.types import _size

from ib_pyro.checks import checks_values, fails
from ib_pyro.choices import require_known
from ib_pyro.distributions.continuous_bernoulli import LogitContinuousBernoulli
from ib_pyro.distributions.counts import LogMeanNegativeBinomial, LogMeanPoisson
from ib_pyro.distributions.discretized_logistic import DiscretizedLogistic
from ib_pyro.distributions.logit_bernoulli import LogitBernoulli
from ib_pyro.handlers import plate_sizes, unwrap

__all__ = [
    "LIKELIHOODS",
    "Likelihood",
    "as_target",
    "check_target",
    "check_values",
    "predictive_mean",
    "require_countable",
    "resolve_likelihood",
    "warn_if_squashed",
]

Likelihood = Callable[[Any], TorchDistributionMixin]


def categorical(logits: Tensor) -> TorchDistributionMixin:
    """Class labels given logits ``[batch, classes]``."""
    _require_numbers(logits, "the decoder's output, the logits of y,")
    # Pyro's own checks cost more than the density; the program checks labels once, in check_target.
    return _SoftmaxCategorical(logits, validate_args=False)


def bernoulli(logits: Tensor) -> TorchDistributionMixin:
    """Binary y given logits ``[batch, ...]``."""
    _require_numbers(logits, "the decoder's output, the logits of y,")
    # The program checks y once, in check_target, as it does labels.
    return LogitBernoulli(logits=logits, validate_args=False).to_event(_event_dim(logits))


def normal(output: Tensor | tuple[Tensor, Tensor]) -> TorchDistributionMixin:
    """Real y given a mean ``[batch, ...]`` (unit variance), or a pair of mean and standard deviation."""
    if isinstance(output, Tensor):
        loc, scale = output, torch.ones_like(output)
    else:
        loc, scale = _pair("normal", output, "mean and standard deviation (or the mean alone)")
        _require_positive(scale, "the decoder's second output, the standard deviation of y,")
    _require_numbers(loc, "the decoder's output, the mean of y,")
    return Normal(loc, scale, validate_args=False).to_event(_event_dim(loc))


def continuous_bernoulli(logits: Tensor) -> TorchDistributionMixin:
    """Grey y in [0, 1] given logits ``[batch, ...]``: a density, so that its nats may be negative."""
    _require_numbers(logits, "the decoder's output, the logits of y,")
    return LogitContinuousBernoulli(logits, validate_args=False).to_event(_event_dim(logits))


def discretized_logistic(output: tuple[Tensor, Tensor]) -> TorchDistributionMixin:
    """Grey y of 256 levels in [0, 1], given a pair of location and scale ``[batch, ...]`` in the units of y."""
    loc, scale = _pair("discretized-logistic", output, "location and scale")
    _require_numbers(loc, "the decoder's output, the location of y,")
    _require_positive(scale, "the decoder's second output, the scale of y,")
    law = DiscretizedLogistic(loc, scale, validate_args=False)
    return law.to_event(_event_dim(law.loc))


def poisson(log_mean: Tensor) -> TorchDistributionMixin:
    """Counts y given the logarithm of their mean ``[batch, ...]``."""
    _require_numbers(log_mean, "the decoder's output, the log mean of y,")
    return LogMeanPoisson(log_mean, validate_args=False).to_event(_event_dim(log_mean))


def negative_binomial(output: tuple[Tensor, Tensor]) -> TorchDistributionMixin:
    """Counts y given a pair: the logarithm of their mean m, and r > 0 of their variance ``m + m² / r``."""
    log_mean, dispersion = _pair("negative-binomial", output, "log mean and dispersion r")
    _require_numbers(log_mean, "the decoder's output, the log mean of y,")
    _require_positive(dispersion, "the decoder's second output, the dispersion r of y,")
    law = LogMeanNegativeBinomial(log_mean, dispersion, validate_args=False)
    return law.to_event(_event_dim(law.log_mean))


LIKELIHOODS: dict[str, Likelihood] = {
    "bernoulli": bernoulli,
    "categorical": categorical,
    "continuous-bernoulli": continuous_bernoulli,
    "discretized-logistic": discretized_logistic,
    "negative-binomial": negative_binomial,
    "normal": normal,
    "poisson": poisson,
}


# What makes probabilities of the logits that a likelihood takes.
SQUASHING = {"bernoulli": nn.Sigmoid, "categorical": nn.Softmax, "continuous-bernoulli": nn.Sigmoid}
COUNTS = LogMeanPoisson, LogMeanNegativeBinomial
GREY = LogitContinuousBernoulli, DiscretizedLogistic
TAKES_NUMBERS = torch.distributions.Bernoulli, ContinuousBernoulli, *GREY, *COUNTS


def resolve_likelihood(likelihood: str | Likelihood) -> Likelihood:
    """Return the likelihood of that name, or the function itself.

    Raises:
        ValueError: If the name is unknown; says the nearest ones.
    """
    if callable(likelihood):
        return likelihood
    way_out = "pass a function from the decoder's output to a distribution"
    return LIKELIHOODS[require_known("likelihood=", likelihood, LIKELIHOODS, otherwise=way_out)]


def warn_if_squashed(network: nn.Module | None, likelihood: object, *, stacklevel: int) -> None:
    """Warn of a network that ends in probabilities before a likelihood that takes logits.

    Args:
        network: The network; where it is no ``nn.Sequential``, nobody knows how it ends.
        likelihood: The likelihood, of which those by name are known.
        stacklevel: As of ``warnings.warn``, counted from who calls this.
    """
    last = network
    while isinstance(last, nn.Sequential) and len(last):
        last = last[-1]
    squashing = SQUASHING.get(likelihood) if isinstance(likelihood, str) else None
    if squashing is not None and isinstance(last, squashing):
        warnings.warn(
            f"the output comes from a {type(last).__name__}, and likelihood={likelihood!r} takes logits, not "
            "probabilities: it would squash them again; leave that layer out",
            stacklevel=stacklevel + 1,
        )


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
    require_countable("y", y)
    if y.shape[:1] != (batch_size,):
        count = len(y) if y.dim() else "a single number instead of"
        raise ValueError(f"site 'y': {count} targets for {batch_size} inputs; pass one for each")
    if y.shape[1:] != likelihood.event_shape:
        # Broadcasting would score each target against every prediction, without a word.
        law = unwrap(likelihood)
        is_one_hot = isinstance(law, Categorical) and y.shape[1:] == (law._num_events,)
        way_out = "pass labels, as in y.argmax(-1)" if is_one_hot else "reshape y, or the decoder's output"
        raise ValueError(
            f"site 'y': one target has shape {tuple(y.shape[1:])}, but the likelihood has event shape "
            f"{tuple(likelihood.event_shape)}; {way_out}"
        )
    if checks_values():
        check_values(y, likelihood)


def require_countable(site: str, y: Tensor) -> None:
    """Raise if targets are of a type of whole numbers that PyTorch stores, but hardly computes with.

    Args:
        site: The site that observes them.
        y: The targets.

    Raises:
        ValueError: If they are unsigned numbers of more than 8 bits; says the way out.
    """
    if y.dtype in (torch.uint16, torch.uint32, torch.uint64):
        raise ValueError(
            f"site {site!r}: y has the type {y.dtype}, which PyTorch can neither compare nor count; pass whole "
            "numbers as int64, y.long()"
        )


def check_values(y: Tensor, likelihood: TorchDistributionMixin) -> None:
    """Raise a ValueError if a target is not one of the values that the likelihood's law takes.

    Laws that have no name here check their values themselves, under Pyro's validation.

    Args:
        y: Targets, any number of them: those of a batch, or of a whole set.
        likelihood: The distribution of any batch.
    """
    law = unwrap(likelihood)
    if isinstance(law, Categorical):
        _check_labels(y, law._num_events)
    elif isinstance(law, torch.distributions.Bernoulli) and fails((y == 0) | (y == 1)):
        raise ValueError(
            f"site 'y': binary y is 0 or 1, but {_describe_range(y)}{_example(y, boolean)}; draw grey values as 0 or "
            "1 (binarise), or give them another likelihood, such as 'continuous-bernoulli'"
        )
    elif isinstance(law, LogitContinuousBernoulli) and fails((y >= 0) & (y <= 1)):
        raise ValueError(
            f"site 'y': grey y is within [0, 1], but {_describe_range(y)}; rescale (whole numbers of 256 levels: "
            "y / 255), or give them another likelihood, such as 'normal'"
        )
    elif isinstance(law, DiscretizedLogistic) and fails(_check_of(law.support, y)):
        raise ValueError(
            f"site 'y': grey y is one of the {law.levels} levels 0, 1/{law.levels - 1}, ..., 1, but "
            f"{_describe_range(y)}{_example(y, law.support)}; rescale and round (whole numbers k: y = k / "
            f"{law.levels - 1}), or give them another likelihood, such as 'continuous-bernoulli'"
        )
    elif isinstance(law, COUNTS) and fails(_check_of(nonnegative_integer, y)):
        raise ValueError(
            f"site 'y': counts are whole numbers from 0, but {_describe_range(y)}{_example(y, nonnegative_integer)}; "
            "round them, or give them another likelihood, such as 'normal'"
        )
    elif isinstance(law, Normal) and y.is_floating_point() and fails(y.isfinite()):
        raise ValueError(
            f"site 'y': real y is a finite number, but {_describe_range(y)}; leave those samples out, by labelled= "
            "if their rates are to count"
        )


def as_target(y: Tensor, likelihood: TorchDistributionMixin) -> Tensor:
    """Return y as the likelihood's law takes it: class labels as they are, all else as numbers."""
    if y.is_floating_point():
        return y
    law = unwrap(likelihood)
    if isinstance(law, Categorical):
        return y
    if y.dtype == torch.bool or isinstance(law, TAKES_NUMBERS):
        return y.to(_dtype_of(law))
    return y


def predictive_mean(likelihood: TorchDistributionMixin) -> Tensor:
    """Return the mean of y under a likelihood, and the probabilities of its classes under a categorical one.

    Args:
        likelihood: ``p(y|z)``, with any ``to_event``, ``mask`` and ``expand`` around its law.

    Returns:
        ``[batch, ..., classes]`` under a categorical law, otherwise of the shape of y.

    Raises:
        NotImplementedError: If the law has no mean, or none is known; names the law.
        ValueError: If the mean of some y is NaN.
    """
    law = unwrap(likelihood)
    if isinstance(law, Categorical):
        return law.probs.expand(*likelihood.shape(), law.probs.shape[-1])
    if isinstance(law, OneHotCategorical):
        return law.probs.expand(likelihood.shape())
    name = type(law).__name__
    instead = "program.predictive(x) returns the distributions themselves, for quantities that they have"
    try:
        # What Pyro calls the mean of a projected normal is a direction, not an expectation.
        mean: Tensor | None = None if isinstance(law, ProjectedNormal) else likelihood.mean
    except (NotImplementedError, AttributeError):
        mean = None
    if mean is None:
        raise NotImplementedError(
            f"site 'y': no mean of {name} is known, so that predict(x) has nothing to return; {instead}"
        )
    if checks_values() and fails(~mean.isnan()):
        raise ValueError(
            f"site 'y': the mean of {name} is NaN for {int(mean.isnan().sum())} of {mean.numel()} values: the law has "
            f"none there (as a Cauchy, or a StudentT with df <= 1), or the decoder's output is NaN; {instead}"
        )
    return mean


def _require_numbers(values: Tensor, what: str) -> None:
    way_out = "look for NaN in x and in the parameters (a lower learning rate often helps)"
    if checks_values():
        _require(~values.isnan(), values, what, "NaN", way_out)


def _require_positive(values: Tensor, what: str) -> None:
    way_out = "make it positive in the decoder, with softplus or exp"
    if checks_values():
        _require(values > 0, values, what, "values that are not positive", way_out)


def _require(condition: Tensor, values: Tensor, what: str, wrong: str, way_out: str) -> None:
    if not fails(condition):
        return
    count, low = int((~condition).sum()), values.detach().nan_to_num(math.inf).min().item()
    raise ValueError(
        f"site 'y': {what} has {wrong}: {count} of {values.numel()} (min {low:.4g}, "
        f"{int(values.isnan().sum())} NaN); {way_out}"
    )


def _event_dim(output: Tensor) -> int:
    """Return how many dimensions of a decoder's output are one sample's: those that no plate around has."""
    sizes = plate_sizes()
    batch_dim = max(-min(sizes, default=-1), 1)
    plates = tuple(sizes.get(dim, 1) for dim in range(-batch_dim, 0))
    return output.dim() - (batch_dim if output.shape[:batch_dim] == plates else 1)


def _pair(name: str, output: object, what: str) -> tuple[Tensor, Tensor]:
    if isinstance(output, tuple | list) and len(output) == 2:
        first, second = output
        return first, second
    found = f"{len(output)} values" if isinstance(output, tuple | list) else f"one {type(output).__name__}"
    raise ValueError(f"site 'y': the decoder returns {found}, but {name!r} takes a pair of tensors: {what}")


def _check_of(support: Constraint, y: Tensor) -> Tensor:
    return support.check(y.to(torch.get_default_dtype()) if y.dtype == torch.bool else y)


def _dtype_of(law: torch.distributions.Distribution) -> torch.dtype:
    """Return the floating type of a law's parameters."""
    for name in law.arg_constraints:
        value = law.__dict__.get(name)
        if isinstance(value, Tensor) and value.is_floating_point():
            return value.dtype
    return torch.get_default_dtype()


def _describe_range(y: Tensor) -> str:
    if y.is_floating_point() and bool(y.isnan().any()):
        return f"y has {int(y.isnan().sum())} NaN of {y.numel()} values"
    low, high = torch.aminmax(y)
    return f"y has values from {low.item():.4g} to {high.item():.4g}"


def _example(y: Tensor, support: Constraint) -> str:
    """Name a value within the range of y that is not in the support."""
    if not y.is_floating_point():
        return ""
    other = y[~support.check(y) & y.isfinite()]
    return f", such as {other[0].item():.6g}" if len(other) else ""


class _SoftmaxCategorical(PyroCategorical):
    """A categorical that normalises its logits by one fused kernel, as ``F.cross_entropy`` does."""

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.logits = self._param = F.log_softmax(logits, dim=-1)
        self._num_events = logits.shape[-1]
        torch.distributions.Distribution.__init__(self, logits.shape[:-1], validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        # What Pyro has enumerated it knows by an address, which no compiler follows.
        if self._validate_args or hasattr(value, "_pyro_categorical_support"):
            return super().log_prob(value)
        if value.shape != self.batch_shape:
            return Categorical.log_prob(self, value)
        return self.logits.gather(-1, value.long().unsqueeze(-1)).squeeze(-1)

    def expand(self, batch_shape: _size, _instance: object = None) -> PyroCategorical:
        if _instance is None and torch.Size(batch_shape) == self.batch_shape:
            return self
        return super().expand(batch_shape, self._get_checked_instance(_SoftmaxCategorical, _instance))


def _check_labels(y: Tensor, num_classes: int) -> None:
    if y.is_floating_point() or y.dtype == torch.bool:
        raise ValueError(f"site 'y': labels must be whole numbers (int64); got {y.dtype}")
    if fails((y >= 0) & (y < num_classes)):
        low, high = torch.aminmax(y)
        raise ValueError(
            f"site 'y': labels reach from {int(low)} to {int(high)}, but the decoder gives {num_classes} classes "
            f"(0 to {num_classes - 1}); relabel, or widen the decoder"
        )
