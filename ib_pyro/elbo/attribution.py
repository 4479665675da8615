"""Which rate the density of each of a guide's sites belongs to: its own site's, a joint one's, or none."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from pyro.distributions import Delta

from ib_pyro.elbo.point_sources import SOURCES
from ib_pyro.handlers import unwrap
from ib_pyro.sites import Site

__all__ = ["Attribution", "attribute", "own_draws", "require_rates_apart"]

OWN_SUFFIXES = ("_unconstrained", "_aux", "_latent")
"""What AutoNormal, AutoStructured and the parameters of Pyro's Gaussian processes call the noise behind one site."""


@dataclass(frozen=True)
class Attribution:
    """The rates of a program, by name, and what each is made of.

    Attributes:
        rate_of: For each site of the guide the name of the rate that its density is part of; None for an auxiliary
            site from which no latent is computed.
        joint: For each rate of several latents together, which is called after the joint site of the guide, their
            names: a guide that computes them from one draw has one density for all.
    """

    rate_of: Mapping[str, str | None]
    joint: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """What a weight for one site may be given to."""
        return {site if rate is None else rate for site, rate in self.rate_of.items()} | {
            member for members in self.joint.values() for member in members
        }


def attribute(guide_sites: Mapping[str, Site], model_sites: Mapping[str, Site]) -> Attribution:
    """Say which rate each site of a guide belongs to.

    Pyro's automatic guides draw an auxiliary site and compute latents from it, which they then sample from a ``Delta``
    with the logarithm of the Jacobian. One auxiliary site named after one latent belongs to it. Otherwise the latents
    computed from one or several auxiliary sites share a rate with them. Which ones are, :func:`note_sources` writes
    into their messages; where it could not, it is those that come after the auxiliary sites, up to the next auxiliary
    site or the next latent with a law of its own.

    Args:
        guide_sites: The guide's sites by name, in order.
        model_sites: The model's.
    """
    auxiliary = [name for name in guide_sites if name not in model_sites]
    if not auxiliary:
        return Attribution({name: name for name in guide_sites})
    computed = _points(guide_sites, model_sites)
    owners = {name: _owner(name, computed) for name in auxiliary}
    owned = {owner for owner in owners.values() if owner is not None}
    rate_of: dict[str, str | None] = {}
    groups: list[_Group] = []
    is_open = False
    for name, site in guide_sites.items():
        if owners.get(name) is not None or name in owned:
            rate_of[name] = owners.get(name) or name
        elif name in owners:
            if not groups or groups[-1].members:
                groups.append(_Group())
            groups[-1].draws.append(name)
            is_open = True
        elif name in computed and (group := _group_of(site, groups, is_open)) is not None:
            group.add(name, site["infer"].get(SOURCES))
        else:
            rate_of[name] = name
            is_open = is_open and name in computed
    joint = {}
    for group in groups:
        rate = group.joint if len(group.members) > 1 else group.members[0] if group.members else None
        # A factor beside a draw, such as the logarithm of a Jacobian, is part of its density.
        factors = [name for name in group.draws if guide_sites[name]["is_observed"]]
        rate_of |= dict.fromkeys(group.draws, None)
        rate_of |= dict.fromkeys([*group.sources, *factors, *group.members], rate)
        if rate is not None and len(group.members) > 1:
            joint[rate] = tuple(group.members)
    return Attribution(rate_of, joint)


def own_draws(guide_sites: Mapping[str, Site], model_sites: Mapping[str, Site]) -> list[str]:
    """Return the guide's auxiliary draws that are not named after one latent, without its factors."""
    auxiliary = [n for n, site in guide_sites.items() if n not in model_sites and not site["is_observed"]]
    if not auxiliary:
        return auxiliary
    computed = _points(guide_sites, model_sites)
    return [name for name in auxiliary if _owner(name, computed) is None]


@dataclass
class _Group:
    """Auxiliary sites, and the latents that are computed from them.

    Attributes:
        draws: Names of the auxiliary sites.
        members: Names of the latents.
        sources: Those of the auxiliary sites that some member is computed from.
    """

    draws: list[str] = field(default_factory=list)
    members: list[str] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)

    @property
    def joint(self) -> str:
        """What the rate of several members is called."""
        return next(name for name in self.draws if name in self.sources)

    def add(self, name: str, sources: frozenset[str] | None) -> None:
        """Add a latent that is computed from some auxiliary sites, or from all of them where it is not known."""
        self.members.append(name)
        self.sources |= set(self.draws) if sources is None else sources & set(self.draws)


def _group_of(site: Site, groups: list[_Group], is_open: bool) -> _Group | None:
    """Return the group that a point belongs to, or None if it is an estimate of its own."""
    sources = site["infer"].get(SOURCES)
    if sources is None:
        return groups[-1] if is_open else None
    return next((group for group in reversed(groups) if sources & set(group.draws)), None)


def _points(guide_sites: Mapping[str, Site], model_sites: Mapping[str, Site]) -> list[str]:
    return [n for n, s in guide_sites.items() if n in model_sites and isinstance(unwrap(s["fn"]), Delta)]


def require_rates_apart(weighted: Container[str], attribution: Attribution) -> None:
    """Raise if a weight would reach a site's prior alone, because its posterior is part of a joint site's.

    Args:
        weighted: Names that have a weight of their own.
        attribution: The rates of the program.

    Raises:
        ValueError: Names both sites.
    """
    for joint, members in attribution.joint.items():
        for name in members:
            if name in weighted and joint not in weighted:
                raise ValueError(
                    f"site {name!r}: beta weights it alone, but the guide draws it from the joint site {joint!r}, "
                    "whose entropy cannot be shared out. Use one beta for all sites, a guide with a site for each "
                    f"latent such as AutoNormal, or say what the joint site weighs: beta={{..., {joint!r}: 1.0}}"
                )


def _owner(auxiliary: str, computed: list[str]) -> str | None:
    return next((name for name in computed for suffix in OWN_SUFFIXES if auxiliary == name + suffix), None)
