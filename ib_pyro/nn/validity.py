"""Whether a value fits the law that it was drawn from, and what to say where it does not."""

import math

import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions import Distribution

from ib_pyro.checks import fails
from ib_pyro.distributions.supports import WithAtoms

__all__ = ["describe_invalid", "is_valid"]


def is_valid(posterior: Distribution, z: Tensor) -> bool:
    """Whether every value is finite, and in the support of its law if that is an interval or another set of reals.

    Discrete supports are not looked at: there a value without noise is between the atoms, as that of dropout is.

    Args:
        posterior: The law, of z's shape or broadcastable to it.
        z: The values; where they cannot be looked at, they count as valid.
    """
    if not z.is_floating_point() or not z.numel():
        return True
    support = _support_of(posterior)
    try:
        # One pass over z and one wait for the device; a NaN is passed on by both bounds.
        low, high = torch.stack(torch.aminmax(z.detach())).tolist()
    except RuntimeError:
        return True
    if not (-math.inf < low and high < math.inf):
        return False
    if support is constraints.real or support.is_discrete:
        return True
    if support is constraints.nonnegative:
        return low >= 0
    return not fails(support.check(z))


def describe_invalid(posterior: Distribution, z: Tensor, x: object) -> str:
    """Say which parameter of a posterior, or what else, made its sample invalid.

    Args:
        posterior: The law.
        z: Its sample.
        x: The layer's input, which may be to blame.
    """
    for parameter in posterior.arg_constraints:
        values = getattr(posterior, parameter, None)
        if not isinstance(values, Tensor):
            continue
        values = values.detach()
        if values.isnan().any():
            return f"{parameter} has {_count(values.isnan())} NaN of {values.numel()} values; {_look_for(x)}"
        if not posterior.arg_constraints[parameter].check(values).all():
            return (
                f"{parameter} has values out of range (min {values.min():.4g}, max {values.max():.4g}); "
                f"it must satisfy {posterior.arg_constraints[parameter]}: use an activation such as relu or softplus"
            )
    if not z.isfinite().all():
        lost = _count(~x.isfinite()) if isinstance(x, Tensor) else 0
        why = f"the layer's input has {lost}, too" if lost else "the activation or its noise overflows"
        return f"z has {_count(~z.isfinite())} infinite or NaN values; {why}"
    return (
        f"z has values outside of its support {_support_of(posterior)} (min {z.min():.4g}, max {z.max():.4g}); a "
        "handler, such as poutine.condition, or an earlier draw that is replayed has put them there"
    )


def _support_of(posterior: Distribution) -> constraints.Constraint:
    try:
        support = posterior.support
    except NotImplementedError:
        support = None
    # An atom at zero does not widen a continuum, whose bounds are quicker to compare.
    support = support.continuum if isinstance(support, WithAtoms) else support
    return constraints.real if support is None else support


def _look_for(x: object) -> str:
    if isinstance(x, Tensor) and x.isnan().any():
        return f"the layer's input has {_count(x.isnan())} NaN of {x.numel()}: look where they come from"
    return "the layer's input has none, so look for NaN in its parameters (a lower learning rate often helps)"


def _count(condition: Tensor) -> int:
    return int(condition.sum())
