"""What a program observes: y under a likelihood, in one site or several, with labels missing or weighted."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, cast

import torch
from pyro import poutine
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.infer.util import is_validation_enabled
from pyro.poutine.messenger import Messenger
from torch import BoolTensor, Tensor
from torch.distributions import Categorical

from ib_pyro.checks import checks_values, fails
from ib_pyro.handlers import sample, unwrap
from ib_pyro.likelihoods import Likelihood, as_target, check_target, check_values, resolve_likelihood

__all__ = ["Target", "laws_of", "observe", "part_of", "resolve_likelihoods"]

Target = Tensor | Mapping[str, Tensor]
"""y, or the y of each head by the name of its site."""


def resolve_likelihoods(
    likelihood: str | Likelihood | Mapping[str, str | Likelihood],
) -> dict[str, Likelihood]:
    """Return the likelihood of each observed site: of ``y``, or of the names that are given.

    Raises:
        ValueError: If a name of a likelihood is unknown, or there is none.
    """
    if not isinstance(likelihood, Mapping):
        return {"y": resolve_likelihood(likelihood)}
    if not likelihood:
        raise ValueError(
            "likelihood is empty; give each head one, as in {'digit': 'categorical', 'size': 'normal'}"
        )
    return {name: resolve_likelihood(own) for name, own in likelihood.items()}


def laws_of(
    output: Any,  # noqa: ANN401  (whatever a likelihood takes)
    likelihoods: Mapping[str, Likelihood],
    *,
    has_heads: bool,
) -> dict[str, TorchDistributionMixin]:
    """Return the law of each observed site, given a decoder's output.

    Args:
        output: Of one head, what its likelihood takes. Of several, a mapping with an entry for each, or a tuple with
            one for each in order.
        likelihoods: The likelihoods by site.
        has_heads: Whether there is an output for each, even if there is only one.

    Raises:
        ValueError: If a head has no output, or a likelihood does not take it; names the site.
    """
    if has_heads and isinstance(output, tuple | list) and len(output) == len(likelihoods):
        output = dict(zip(likelihoods, output, strict=True))
    if has_heads and (not isinstance(output, Mapping) or not likelihoods.keys() <= output.keys()):
        found = (
            f"a mapping of {list(output)}" if isinstance(output, Mapping) else f"a {type(output).__name__}"
        )
        raise ValueError(
            f"sites {list(likelihoods)}: the decoder returns {found}; return a mapping with an entry for each, or a "
            "tuple with one for each in order"
        )
    laws = {}
    for name, likelihood in likelihoods.items():
        try:
            laws[name] = likelihood(output[name] if has_heads else output)
        except ValueError as error:
            said = str(error)
            where = f"site {name!r}: the likelihood does not take the decoder's output: "
            raise ValueError(_named(said, name) if "site 'y'" in said else where + said) from error
    return laws


def part_of(y: Target | None, name: str, names: Mapping[str, object]) -> Tensor | None:
    """Return the target of one observed site; None if it is not given.

    Raises:
        TypeError: If y is neither a tensor nor a mapping of tensors; says what to do.
        ValueError: If y does not say which head it is for, or names another.
    """
    if isinstance(y, Mapping):
        if not y.keys() <= names.keys():
            raise ValueError(
                f"y has {sorted(y.keys() - names.keys())}, but the observed sites are {list(names)}"
            )
        y = y.get(name)
    elif y is not None and "y" not in names:
        raise ValueError(
            f"y is one target for the sites {list(names)}; pass a mapping, with a target for each"
        )
    if y is not None and not isinstance(y, Tensor):
        raise TypeError(
            f"site {name!r}: y is a {type(y).__name__}; pass a tensor, as torch.as_tensor(y) makes one"
        )
    return y


def observe(
    name: str,
    law: TorchDistributionMixin,
    y: Tensor | None,
    batch_size: int,
    *,
    labelled: Tensor | None = None,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Observe y at its site, or sample it if it is not given.

    Args:
        name: The site.
        law: ``p(y|z)``.
        y: The target, ``[batch, ...]``.
        batch_size: Number of samples in the batch.
        labelled: Truth value of each sample that has a y, ``[batch]``; what is said of the others is not looked at,
            and their distortion is 0.
        class_weights: What the distortion of each class is multiplied with, ``[classes]``.

    Raises:
        ValueError: If y is nothing that the law takes, or the mask or the weights do not fit; names the site.
    """
    if y is None:
        return _drawn_or_set(name, law, batch_size, labelled, class_weights)
    if labelled is None and class_weights is None:
        if is_validation_enabled():
            _check(check_target, name, y, law, batch_size)
        return sample(name, law, as_target(y, law))
    if labelled is not None:
        y = _filled(name, y, labelled, batch_size)
    if is_validation_enabled():
        _check(check_target, name, y, law, batch_size)
    with ExitStack() as handlers:
        if labelled is not None:
            handlers.enter_context(poutine.mask(mask=cast(BoolTensor, labelled)))
        if class_weights is not None:
            handlers.enter_context(poutine.scale(scale=_weights_of(name, law, y, class_weights)))
        return sample(name, law, as_target(y, law))


def _drawn_or_set(
    name: str,
    law: TorchDistributionMixin,
    batch_size: int,
    labelled: Tensor | None,
    class_weights: Tensor | None,
) -> Tensor:
    """Sample y, or take the value that a handler such as ``poutine.condition`` sets, checked as one that is passed."""
    # For whoever finds that the guide lacks the site.
    hint: Any = {"hint": f"{name} was not given, so it is sampled; pass {name}"}
    with ExitStack() as handlers:
        if labelled is not None:
            _require_mask(name, labelled, batch_size)
            handlers.enter_context(poutine.mask(mask=cast(BoolTensor, labelled)))
        seen = handlers.enter_context(_Seen())
        y = sample(name, law, infer=hint)
    if class_weights is not None and seen.is_observed:
        raise ValueError(
            f"site {name!r}: class_weights are of the y that is passed to the program, but a handler such as "
            f"poutine.condition sets this one; pass {name}, or leave class_weights out"
        )
    if seen.is_observed and is_validation_enabled() and y.shape != law.shape():
        # Under vectorised particles it may be without their dimensions.
        if y.dim() <= law.event_dim or y.shape != law.shape()[-y.dim() :]:
            _check(check_target, name, y, law, batch_size)
    if checks_values():
        _check(check_values, name, y, law)
    return y


class _Seen(Messenger):
    """Notes whether a site had its value from a handler outside, as an observation."""

    is_observed = False

    def _pyro_post_sample(self, msg: dict[str, Any]) -> None:
        self.is_observed = bool(msg["is_observed"])


def _require_mask(name: str, labelled: Tensor, batch_size: int) -> None:
    if labelled.dtype != torch.bool or labelled.shape != (batch_size,):
        raise ValueError(
            f"site {name!r}: labelled is {labelled.dtype} of shape {tuple(labelled.shape)}; pass a truth value for "
            f"each of the {batch_size} samples"
        )


def _filled(name: str, y: Tensor, labelled: Tensor, batch_size: int) -> Tensor:
    """Return y with a value that any law of labels or numbers takes where it has none."""
    _require_mask(name, labelled, batch_size)
    if y.shape[:1] != (batch_size,):
        return y
    return torch.where(labelled.view(-1, *(1,) * (y.dim() - 1)), y, torch.zeros_like(y))


def _weights_of(name: str, law: TorchDistributionMixin, y: Tensor, class_weights: Tensor) -> Tensor:
    categorical = unwrap(law)
    if not isinstance(categorical, Categorical) or y.dim() != 1:
        raise ValueError(
            f"site {name!r}: class_weights are for one class a sample, but the law is "
            f"{type(categorical).__name__}; leave them out, or weigh the samples with poutine.scale"
        )
    num_classes = categorical.logits.shape[-1]
    if len(class_weights) != num_classes:
        raise ValueError(
            f"site {name!r}: {len(class_weights)} class_weights for {num_classes} classes; give one each"
        )
    if checks_values() and fails((class_weights > 0) & class_weights.isfinite()):
        raise ValueError(
            f"site {name!r}: class_weights are positive and finite numbers; got {class_weights.tolist()}. Samples "
            "of a class that is not to count are left out by labelled="
        )
    return class_weights[y.long()]


def _check(check: Any, name: str, *args: Any) -> None:  # noqa: ANN401  (one of the checks of likelihoods)
    try:
        check(*args)
    except ValueError as error:
        if name == "y":
            raise
        raise ValueError(_named(str(error), name)) from error


def _named(message: str, name: str) -> str:
    """Return what is said of the site y, said of another."""
    return message.replace("site 'y'", f"site {name!r}")
