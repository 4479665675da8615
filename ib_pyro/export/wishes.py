"""What a user asks of an export, checked: draws, rows at once, groups, sites, and names of dimensions."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import index

import torch
from torch import Tensor

from ib_pyro.choices import require_known
from ib_pyro.export.draws import Draw
from ib_pyro.export.names import check_name, check_unique

__all__ = ["Wishes", "as_seed"]

PROPER_PRIORS = (
    "a latent site, and proper priors: use a log-normal one (activation='softplus', prior='log-normal'), or leave the "
    "group out"
)
NEEDS = {
    "posterior": "a latent site",
    "posterior_predictive": "an observed site, or one that is in the model alone",
    "log_likelihood": "observed data: pass y",
    "sample_stats": "a latent or an observed site",
    "prior": PROPER_PRIORS,
    "prior_predictive": PROPER_PRIORS,
    "observed_data": "observed data: pass y",
    "constant_data": "nothing",
}


@dataclass(frozen=True)
class Wishes:
    """The arguments of :func:`ib_pyro.to_arviz` that say what to draw, and how to call it."""

    num_samples: int
    sites: Iterable[str] | None
    groups: Iterable[str] | None
    batch_size: int | None
    constant_data: Mapping[str, Tensor]
    dims: Mapping[str, Sequence[str]]
    data_dim: str
    plate: str | None

    def check(self, num_rows: int) -> None:
        """Raise an error that says which argument does not fit, if one does not, before anything is drawn."""
        self.possible_groups()
        for name, values in self.constant_data.items():
            check_name(name, "constant_data")
            shape = torch.as_tensor(values).shape
            if not shape or shape[0] != num_rows:
                raise ValueError(
                    f"{name}: {shape[0] if shape else 'no'} rows for {num_rows} in x; pass one for each"
                )
        for name in ("num_samples", "batch_size"):
            value = getattr(self, name)
            if value is None:
                continue
            if _whole_number(name, value) < 1:
                raise ValueError(f"{name} must be at least 1; got {value}")

    def possible_groups(self) -> frozenset[str]:
        """Return the groups that may be filled: those asked for, or all.

        Raises:
            ValueError: If one is unknown, or there is none; says the nearest ones.
        """
        if self.groups is None:
            return frozenset(NEEDS)
        wanted = _named(self.groups, "groups")
        for group in sorted(wanted - set(NEEDS)):
            require_known("groups:", group, NEEDS)
        if not wanted:
            raise ValueError(f"groups is empty; name some of {', '.join(NEEDS)}, or leave it out for all")
        return wanted

    def groups_of(self, draw: Draw, has_prior: Collection[str]) -> frozenset[str]:
        """Return the groups to fill: those asked for, or all that the program and its data can fill.

        Args:
            draw: A draw from the posterior.
            has_prior: Sites that can be drawn from the model alone.

        Raises:
            ValueError: If a group is asked for that cannot be filled; says what it needs.
        """
        possible = {
            "posterior": draw.latent or draw.deterministic,
            "posterior_predictive": draw.observed or draw.predicted,
            "log_likelihood": draw.observed,
            "sample_stats": draw.latent or draw.observed,
            "prior": {*draw.latent} & {*has_prior},
            "prior_predictive": {*draw.observed, *draw.predicted} & {*has_prior},
            "observed_data": draw.observed,
            "constant_data": True,
        }
        wanted = self.possible_groups()
        for group in sorted(wanted):
            if self.groups is not None and not possible[group]:
                raise ValueError(f"groups: {group!r} needs {NEEDS[group]}")
        return frozenset(group for group in wanted if possible[group])

    def sites_of(self, draw: Draw) -> frozenset[str]:
        """Return the sites whose values to keep: those asked for, or all latent and deterministic ones.

        Raises:
            ValueError: If the program has no such site; says the nearest ones.
        """
        known = [*draw.latent, *draw.deterministic]
        wanted = frozenset(known) if self.sites is None else _named(self.sites, "sites")
        for site in sorted(wanted - set(known)):
            require_known("sites: latent site", site, known)
        return wanted


def as_seed(seed: object) -> int:
    """Return a seed as the number that torch's generators take.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is none of 64 bits.
    """
    number = _whole_number("seed", seed)
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"seed={number} is no number of 64 bits; pass one from -2**63 to 2**64 - 1")
    return number


def _whole_number(name: str, value: object) -> int:
    try:
        if not (isinstance(value, bool) or isinstance(value, Tensor) and value.dtype == torch.bool):
            return index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        pass
    raise TypeError(f"{name} must be a whole number; got {value!r}")


def _named(names: Iterable[str], argument: str) -> frozenset[str]:
    named = [names] if isinstance(names, str) else list(names)
    check_unique(named, argument)
    return frozenset(named)
