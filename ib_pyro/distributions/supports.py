"""The supports of mixed measures, and why inference that moves through a continuum cannot use them."""

import math
from typing import NoReturn

import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions.constraint_registry import biject_to, transform_to
from torch.distributions.transforms import Transform

from ib_pyro.precision import promoted

__all__ = ["Atoms", "WithAtoms", "ZeroOrInterval", "cdf_of_zero"]

INSTEAD = (
    "AutoNormal, AutoDelta, NUTS and HMC move z through a continuum and never meet the atom. Take "
    "FactorizedLogNormal or LogNormal as the prior, or a guide that draws z with the layer's own noise"
)


def cdf_of_zero(value: Tensor) -> Tensor:
    """Mass of the atom at zero up to each value; NaN stays NaN."""
    return (value >= 0).to(value.dtype).masked_fill(value.isnan(), math.nan)


class ZeroOrInterval(constraints.Constraint):
    """``z = 0``, or ``low <= z <= high`` with z > 0 (for |z| when two-sided).

    Args:
        low: Lower bound.
        high: Upper bound.
        gate: Mass at zero.
        two_sided: Whether the bounds are those of |z|.
    """

    def __init__(self, low: Tensor, high: Tensor, gate: Tensor, two_sided: bool) -> None:
        self.low, self.high, self.gate, self.two_sided = low, high, gate, two_sided

    def check(self, value: Tensor) -> Tensor:
        """Whether each value is zero or between the bounds."""
        size = value.abs() if self.two_sided else value
        return (value == 0) | ((size >= self.low) & (size <= self.high) & (size > 0))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(two_sided={self.two_sided})"

    def is_interval(self) -> bool:
        """Whether values lie in a finite interval with certainty."""
        bounded = bool((self.low > 0).all()) and bool((self.high < math.inf).all())
        return not self.two_sided and bounded and not bool((self.gate > 0).any())


class WithAtoms(constraints.Constraint):
    """A continuum on which some elements are an atom at zero.

    Args:
        continuum: Where the values lie.
        is_atom: Which elements are zero, each with probability 1.
    """

    def __init__(self, continuum: constraints.Constraint, is_atom: Tensor) -> None:
        self.continuum, self.is_atom = continuum, is_atom

    def check(self, value: Tensor) -> Tensor:
        """Whether each value lies in the continuum."""
        return self.continuum.check(value)

    def __repr__(self) -> str:
        return repr(self.continuum)


class Atoms(constraints.Constraint):
    """Zero and one more atom, up to the rounding of the types that are compared.

    Args:
        kept: Where the other atom lies.
    """

    is_discrete = True

    def __init__(self, kept: Tensor) -> None:
        self.kept = kept

    def check(self, value: Tensor) -> Tensor:
        """Whether each value is an atom."""
        return (value == 0) | self.is_kept(value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(0, activation / (1 - drop_prob))"

    def is_kept(self, value: Tensor) -> Tensor:
        """Whether values are the other atom."""
        rtol, atol = 1e-5, 0.0
        for dtype in {value.dtype, self.kept.dtype} if value.is_floating_point() else {self.kept.dtype}:
            limits = torch.finfo(dtype)
            rtol = max(rtol, 4 * limits.eps)
            # Below the smallest normal number a type's steps are all of one size.
            atol = max(atol, 2 * limits.smallest_normal * limits.eps)
        compute = torch.promote_types(promoted(value, self.kept), torch.float32)
        value, kept = value.to(compute), self.kept.to(compute)
        return torch.isclose(value, kept, rtol=rtol, atol=atol) & (value != 0)


@biject_to.register(ZeroOrInterval)
@transform_to.register(ZeroOrInterval)
def _between_bounds(constraint: ZeroOrInterval) -> Transform:
    if constraint.is_interval():
        return biject_to(constraints.interval(constraint.low, constraint.high))
    raise NotImplementedError(
        "a log-uniform prior is a mixed measure, a continuum and an atom of mass `gate` at zero, which no smooth "
        f"transform of the real line reaches. {INSTEAD}. With gate=0.0 and both bounds, one-sided, there is no atom"
    )


@biject_to.register(WithAtoms)
@transform_to.register(WithAtoms)
def _without_atoms(constraint: WithAtoms) -> Transform:
    atoms = int(constraint.is_atom.sum())
    if atoms:
        raise NotImplementedError(
            f"{atoms} of {constraint.is_atom.numel()} activations are exactly zero, where z is an atom at zero, which "
            f"no smooth transform of the real line reaches. {INSTEAD}, or an activation that is never zero (softplus)"
        )
    return biject_to(constraint.continuum)


@biject_to.register(Atoms)
@transform_to.register(Atoms)
def _refuse_atoms(constraint: Atoms) -> NoReturn:
    raise NotImplementedError(
        "Bernoulli noise has two atoms, 0 and activation / (1 - drop_prob), and no continuum between them. "
        f"{INSTEAD}"
    )
