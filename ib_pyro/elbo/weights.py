"""The weights of the Lagrangian, beta and gamma: one for all sites, or one for each."""

from collections.abc import Mapping, Set
from difflib import get_close_matches

from torch import Tensor

__all__ = ["Weight", "check_weight", "is_zero", "require_known_sites", "weight_of", "weighted"]

Weight = float | Tensor | Mapping[str, "float | Tensor"]


def check_weight(weight: Weight, name: str) -> Weight:
    """Return the weight if every number in it is at least 0.

    Raises:
        ValueError: Says which number is negative or NaN.
        TypeError: If it is neither a number, a tensor nor a mapping.
    """
    if isinstance(weight, Mapping):
        return {site: check_weight(value, f"{name}[{site!r}]") for site, value in weight.items()}  # type: ignore[misc]
    if not isinstance(weight, int | float | Tensor):
        raise TypeError(
            f"{name} must be a number, a tensor or a mapping of sites; got {type(weight).__name__}"
        )
    if not (bool((weight >= 0).all()) if isinstance(weight, Tensor) else weight >= 0):
        raise ValueError(f"{name} must be at least 0; got {weight}")
    return weight


def weight_of(weight: Weight, site: str, default: float) -> float | Tensor:
    """Return the weight of one site, or the default for a site that a mapping leaves out."""
    return weight.get(site, default) if isinstance(weight, Mapping) else weight


def is_zero(weight: float | Tensor) -> bool:
    """Whether a weight is the number zero. A tensor never is: looking would wait for the device."""
    return not isinstance(weight, Tensor) and weight == 0


def weighted(weight: float | Tensor, values: Tensor) -> Tensor:
    """Return ``weight * values``, with zero weight silencing even infinite values."""
    if isinstance(weight, Tensor):
        zero = weight == 0
        return weight * values.masked_fill(zero, 0.0)
    return values if weight == 1 else weight * values


def require_known_sites(weight: Weight, name: str, sites: Set[str]) -> None:
    """Raise if a mapping weights a site that the program does not have.

    Raises:
        ValueError: Names the site and the nearest ones.
    """
    for site in weight if isinstance(weight, Mapping) else ():
        if site not in sites:
            near = get_close_matches(site, sites) or sorted(sites)
            raise ValueError(
                f"{name} names the site {site!r}, which the program does not have; it has {near}"
            )
