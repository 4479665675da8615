"""Which rate the density of each of a guide's sites belongs to: its own site's, a joint one's, or none."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from pyro.distributions import Delta

from ib_pyro.handlers import unwrap
from ib_pyro.sites import Site

__all__ = ["Attribution", "attribute", "require_rates_apart"]

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
    computed after one or several auxiliary sites share a rate with them, up to the next auxiliary site.

    Args:
        guide_sites: The guide's sites by name, in order.
        model_sites: The model's.
    """
    auxiliary = [name for name in guide_sites if name not in model_sites]
    if not auxiliary:
        return Attribution({name: name for name in guide_sites})
    computed = [n for n, s in guide_sites.items() if n in model_sites and isinstance(unwrap(s["fn"]), Delta)]
    owners = {name: _owner(name, computed) for name in auxiliary}
    owned = {owner for owner in owners.values() if owner is not None}
    rate_of: dict[str, str | None] = {}
    group: list[str] = []
    groups = [group]
    for name in guide_sites:
        if owners.get(name) is not None or (name not in owners and (name not in computed or name in owned)):
            rate_of[name] = owners.get(name) or name
        elif name in owners and any(member not in owners for member in group):
            groups.append(group := [name])
        elif name in owners or group:
            group.append(name)
        else:
            rate_of[name] = name
    joint = {}
    for group in filter(None, groups):
        members = tuple(name for name in group if name not in owners)
        rate = group[0] if len(members) > 1 else members[0] if members else None
        rate_of |= dict.fromkeys(group, rate)
        if len(members) > 1:
            joint[group[0]] = members
    return Attribution(rate_of, joint)


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
