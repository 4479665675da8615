"""The weights of the Lagrangian, beta and gamma: one for all sites, or one for each."""

import math
from collections.abc import Mapping, Set
from numbers import Real

import torch
from torch import Tensor

from ib_pyro.checks import fails, is_traced
from ib_pyro.choices import require_known

__all__ = [
    "Weight",
    "check_scalar_weight",
    "check_weight",
    "is_zero",
    "require_known_sites",
    "require_reach",
    "weight_of",
    "weighted",
]

Weight = float | Tensor | Mapping[str, "float | Tensor"]


def check_weight(weight: Weight, name: str) -> Weight:
    """Return the weight if every number in it is finite and at least 0.

    Numbers of NumPy become Python's, and tensors with one element scalars.

    Args:
        weight: A number, a tensor, or either by site.
        name: What to call it in an error.

    Raises:
        ValueError: Says which number is negative, infinite or NaN.
        TypeError: If it is neither a number, a tensor nor a mapping.
    """
    if isinstance(weight, Mapping):
        for site, value in weight.items():
            if isinstance(value, Mapping):
                raise TypeError(f"{name}[{site!r}] is a mapping; a site has one weight, a number or a tensor")
        return {site: check_weight(value, f"{name}[{site!r}]") for site, value in weight.items()}  # type: ignore[misc]
    if isinstance(weight, Tensor):
        if weight.is_complex():
            raise TypeError(f"{name} must be a real number or tensor; got {weight.dtype}")
        if not is_traced() and fails((weight >= 0) & weight.isfinite()):
            raise ValueError(f"{name} must be at least 0{_but_finite(weight)}; got {weight}")
        return weight.reshape(()) if weight.numel() == 1 else weight
    if not isinstance(weight, Real):
        raise TypeError(
            f"{name} must be a number, a tensor or a mapping of sites; got {type(weight).__name__}"
        )
    if not 0 <= weight < math.inf:
        raise ValueError(f"{name} must be at least 0{_but_finite(weight)}; got {weight}")
    # One of NumPy's is a float of Python too, but not of its kind.
    return weight if type(weight) in (bool, int, float) else float(weight)


def check_scalar_weight(weight: Weight, name: str, why: str) -> Weight:
    """Return the weight if it is one number a site.

    Raises:
        ValueError: If a tensor has several; says why there is to be one.
    """
    checked = check_weight(weight, name)
    for value in weight.values() if isinstance(weight, Mapping) else [weight]:
        if isinstance(value, Tensor) and value.dim():
            raise ValueError(f"{name} must be one number for a site, {why}; got shape {tuple(value.shape)}")
    return checked


def require_reach(weight: float | Tensor, name: str, site: str, batch_shape: torch.Size) -> None:
    """Raise if a weight would broadcast a site's values to more than they are.

    Raises:
        ValueError: Names the site, the shapes and the way out.
    """
    if not isinstance(weight, Tensor) or not weight.dim():
        return
    try:
        fits = torch.broadcast_shapes(weight.shape, batch_shape) == batch_shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"site {site!r}: {name} has shape {tuple(weight.shape)}, but the site has batch shape "
            f"{tuple(batch_shape)}, and each of its samples one weight; pass a number, a tensor that broadcasts to "
            f"that shape, or {name}={{site: ...}}"
        )


def weight_of(weight: Weight, site: str, default: float) -> float | Tensor:
    """Return the weight of one site, or the default for a site that a mapping leaves out."""
    return weight.get(site, default) if isinstance(weight, Mapping) else weight


def is_zero(weight: float | Tensor) -> bool:
    """Whether a weight is the number zero. A tensor never is: looking would wait for the device."""
    return not isinstance(weight, Tensor) and weight == 0


def weighted(weight: float | Tensor, values: Tensor) -> Tensor:
    """Return ``weight * values``, with zero weight silencing even infinite values."""
    if isinstance(weight, Tensor):
        if not weight.dim():
            weight = weight.to(values.dtype)  # one number, which as such does not widen what it weights
        return weight * values.masked_fill(weight == 0, 0.0)
    return values if weight == 1 else weight * values


def require_known_sites(weight: Weight, name: str, sites: Set[str]) -> None:
    """Raise if a mapping weights a site that the program does not have.

    Raises:
        ValueError: Names the site and the nearest ones.
    """
    for site in weight if isinstance(weight, Mapping) else ():
        require_known(f"{name}: site", site, sites)


def _but_finite(weight: float | Tensor) -> str:
    return " and finite" if torch.as_tensor(weight).isinf().any() else ""
