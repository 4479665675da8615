"""KL divergences in closed form: PyTorch's and Pyro's rules, but for those that are not right."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    ContinuousBernoulli,
    Distribution,
    HalfCauchy,
    HalfNormal,
    TransformedDistribution,
    Uniform,
    kl_divergence,
)
from torch.distributions.kl import _dispatch_kl
from torch.distributions.transforms import (
    CatTransform,
    ComposeTransform,
    IndependentTransform,
    StackTransform,
    Transform,
)

from ib_pyro.checks import is_traced
from ib_pyro.handlers import unwrap

__all__ = ["UntrueRuleError", "closed_form"]

SYMMETRIC = (HalfNormal, HalfCauchy)
"""Folded laws of which each value has two preimages of the same density, so that nothing is lost by folding."""


class UntrueRuleError(NotImplementedError):
    """The rule that is registered for two laws is not right for them."""


def closed_form(p: Distribution, q: Distribution) -> Tensor | Any:  # noqa: ANN401  (a number, of masked laws)
    r"""Return ``KL(p || q)`` by the rule that is registered for the two laws, where that rule is right.

    A transform that they have in common leaves the divergence as it is only if it is one to one. Under one that folds,
    such as the absolute value, ``KL(|u| || |v|) <= KL(u || v)``, and the rule for transformed laws returns the latter.

    Args:
        p: The one law.
        q: The other.

    Returns:
        Nats, of the batch shape of both; a number where both are masked as a whole.

    Raises:
        NotImplementedError: If there is no rule.
        UntrueRuleError: If the one that there is may not be right; says which transform or pair.

    >>> import torch
    >>> from torch.distributions import Normal
    >>> closed_form(Normal(torch.tensor(1.0), 1.0), Normal(torch.tensor(0.0), 1.0))
    tensor(0.5000)
    """
    folding = next((transform for law in (p, q) for transform in _folding_transforms(law)), None)
    if folding is not None and _is_pytorchs_rule(p, q):
        raise UntrueRuleError(
            f"the rule for transformed laws takes {type(folding).__name__} for one to one, which it is not known to be"
        )
    if _is_unit_interval_pair(p, q) or _is_unit_interval_pair(q, p):
        raise UntrueRuleError(
            "PyTorch's rule is infinite where the uniform law ends at 0 or 1, and ought not to be"
        )
    return kl_divergence(p, q)


def _folding_transforms(law: Distribution) -> Iterator[Transform]:
    """Yield the transforms in a law that may map several values to one, but for those that are accounted for."""
    fn: Any = law
    while hasattr(fn, "base_dist"):
        if isinstance(fn, TransformedDistribution) and not isinstance(fn, SYMMETRIC):
            yield from (part for part in _parts_of(fn.transforms) if not part.bijective)
        fn = fn.base_dist


def _parts_of(transforms: Iterable[Transform]) -> Iterator[Transform]:
    for transform in transforms:
        if isinstance(transform, ComposeTransform):
            yield from _parts_of(transform.parts)
        elif isinstance(transform, CatTransform | StackTransform):
            yield from _parts_of(transform.transforms)
        elif isinstance(transform, IndependentTransform):
            yield from _parts_of([transform.base_transform])
        else:
            yield transform


def _is_pytorchs_rule(p: Distribution, q: Distribution) -> bool:
    """Whether the rule for two laws is one that comes with PyTorch, and not one that somebody has registered."""
    rule = _dispatch_kl(type(unwrap(p)), type(unwrap(q)))
    return getattr(rule, "__module__", "") == torch.distributions.kl.__name__


def _is_unit_interval_pair(p: Distribution, q: Distribution) -> bool:
    """Whether one law is uniform up to an end of the other's interval, or nobody can tell."""
    uniform, grey = _innermost(p), _innermost(q)
    if not (isinstance(uniform, Uniform) and isinstance(grey, ContinuousBernoulli)):
        return False
    return is_traced() or bool(((uniform.low == 0) | (uniform.high == 1)).any())


def _innermost(law: Any) -> Any:  # noqa: ANN401  (through any wrapper)
    while hasattr(law, "base_dist"):
        law = law.base_dist
    return law
