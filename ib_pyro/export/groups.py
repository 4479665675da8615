"""The groups of a result: which there are, and which a program can fill."""

from collections.abc import Iterable

from ib_pyro.choices import require_known
from ib_pyro.export.draws import Draw
from ib_pyro.export.names import check_unique

__all__ = ["GROUPS", "PRIOR_GROUPS", "check_groups", "resolve_groups", "resolve_sites"]

GROUPS = (
    "posterior",
    "posterior_predictive",
    "log_likelihood",
    "sample_stats",
    "prior",
    "prior_predictive",
    "observed_data",
    "constant_data",
)
PRIOR_GROUPS = frozenset({"prior", "prior_predictive"})
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
}


def check_groups(groups: Iterable[str] | None) -> frozenset[str]:
    """Return the groups that may be filled: those asked for, or all.

    Raises:
        ValueError: If one is unknown, or there is none; says the nearest ones.
    """
    if groups is None:
        return frozenset(GROUPS)
    named = [groups] if isinstance(groups, str) else list(groups)
    check_unique(named, "groups")
    wanted = frozenset(named)
    for group in sorted(wanted - set(GROUPS)):
        require_known("groups:", group, GROUPS)
    if not wanted:
        raise ValueError(f"groups is empty; name some of {', '.join(GROUPS)}, or leave it out for all")
    return wanted


def resolve_groups(groups: Iterable[str] | None, draw: Draw, *, prior_is_proper: bool) -> frozenset[str]:
    """Return the groups to fill: those asked for, or all that the program and its data can fill.

    Raises:
        ValueError: If a group is asked for that cannot be filled; says what it needs.
    """
    possible = {
        "posterior": bool(draw.latent or draw.deterministic),
        "posterior_predictive": bool(draw.observed or draw.predicted),
        "log_likelihood": bool(draw.observed),
        "sample_stats": bool(draw.latent or draw.observed),
        "prior": bool(draw.latent) and prior_is_proper,
        "prior_predictive": bool(draw.latent) and prior_is_proper,
        "observed_data": bool(draw.observed),
        "constant_data": True,
    }
    wanted = check_groups(groups)
    for group in sorted(wanted):
        if groups is not None and not possible[group]:
            raise ValueError(f"groups: {group!r} needs {NEEDS[group]}")
    return frozenset(group for group in wanted if possible[group])


def resolve_sites(sites: Iterable[str] | None, draw: Draw) -> frozenset[str]:
    """Return the sites whose values to keep: those asked for, or all latent and deterministic ones.

    Raises:
        ValueError: If the program has no such site; says the nearest ones.
    """
    known = [*draw.latent, *draw.deterministic]
    if sites is None:
        return frozenset(known)
    wanted = [sites] if isinstance(sites, str) else list(sites)
    check_unique(wanted, "sites")
    for site in wanted:
        require_known("sites: latent site", site, known)
    return frozenset(wanted)
