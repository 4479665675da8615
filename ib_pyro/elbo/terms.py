"""The parts of the Lagrangian: one distortion, and the rates of a program by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from ib_pyro.elbo.attribution import Attribution
from ib_pyro.elbo.site_rate import Rate
from ib_pyro.sites import Plate, Site, masked, per_plate, plates_kept, plates_of

__all__ = ["Terms", "average_terms", "report_rates", "what_is_nan"]


@dataclass(frozen=True)
class Terms:
    """The parts of one evaluation of the Lagrangian, in nats, averaged over particles.

    Attributes:
        distortion: ``-log p(y|z)``, ``[batch]``: one value for each index of the plates that all observed sites
            share, without their scale, and summed over the other plates, with theirs.
        rate: ``KL(p(z|x) || q(z))`` of each latent site, ``[batch]``: one value for each index of the site's
            plates, without their scale and without beta.
        loss: The scalar to minimise: distortion plus beta times rate, summed over plates and scaled as Pyro does.
        total_correlation: TC(z) of each site that gamma weights, a scalar; empty if gamma is 0.
        estimator: How each rate was found: ``"analytic"``, ``"monte-carlo"`` (``log p(z|x) - log q(z)`` at the
            draw), ``"point"`` (the same of a point estimate, whose entropy is minus infinity and left out) or
            ``"none"`` (not charged: the site is masked as a whole, as that of ``BinaryDropout`` is; its rate is 0).
        joint: The latents behind a rate that several have in common, by its name: an automatic guide that computes
            them from one draw has one density for all. Their rate stands under the joint site's name in ``rate``,
            summed over the plates that they do not share, and they themselves do not.
        auxiliary: ``log q(u|x)`` of the guide's own sites that no latent is computed from, and of its factors. They
            are part of the loss, with the weight of their name, but of no site's rate.
        plates: The plate of each dimension of the distortion.
        rate_plates: The plate of each dimension of a rate, by its name, and behind those the plates that the program
            loops over around the site.
        likelihood: ``p(y|z)`` of each observed site at the draw, with batch dimensions as in the model; of several
            particles in turn, that of the last.
    """

    distortion: Tensor
    rate: dict[str, Tensor]
    loss: Tensor
    total_correlation: dict[str, Tensor] = field(default_factory=dict)
    estimator: dict[str, str] = field(default_factory=dict)
    joint: dict[str, tuple[str, ...]] = field(default_factory=dict)
    auxiliary: dict[str, Tensor] = field(default_factory=dict)
    plates: tuple[Plate, ...] = ()
    rate_plates: dict[str, tuple[Plate, ...]] = field(default_factory=dict)
    likelihood: dict[str, Distribution] = field(default_factory=dict)


def report_rates(
    rates: Mapping[str, Rate], attribution: Attribution, guide_sites: Mapping[str, Site]
) -> dict[str, Any]:
    """Return the rates of a program by name, each per index of its plates, and what there is to say of them."""
    parts: dict[str, list[str]] = {}
    auxiliary: dict[str, Tensor] = {}
    for name, rate in rates.items():
        owner = attribution.rate_of[name]
        if owner is None:
            auxiliary[name] = per_plate(masked(rate.values, guide_sites[name]), guide_sites[name])
        else:
            parts.setdefault(owner, []).append(name)
    values, estimator, plates = {}, {}, {}
    for owner, names in parts.items():
        estimator[owner] = rates[names[0]].estimator if len(names) == 1 else "monte-carlo"
        if len(names) == 1:
            found, site = rates[names[0]].values, guide_sites[names[0]]
            values[owner], plates[owner] = per_plate(masked(found, site), site), plates_kept(found, site)
        else:
            parts_of_it = [(rates[name].values, guide_sites[name]) for name in names]
            values[owner], plates[owner] = _sum_of_parts(parts_of_it)
    return {
        "rate": values,
        "rate_plates": plates,
        "estimator": estimator,
        "auxiliary": auxiliary,
        "joint": dict(attribution.joint),
    }


def _sum_of_parts(parts: list[tuple[Tensor, Site]]) -> tuple[Tensor, tuple[Plate, ...]]:
    """Return a value for each index of the plates that all parts of a rate share, or the whole, and these plates."""
    shared = set.intersection(*(plates_of(site) for _, site in parts))
    total: Tensor | float = 0.0
    for values, site in parts:
        total = total + per_plate(masked(values, site), site, shared)
    return torch.as_tensor(total), plates_kept(*parts[0], shared)


def average_terms(particles: list[Terms]) -> Terms:
    """Return the mean of the terms of several particles.

    Raises:
        ValueError: If a site is in some particles and not in others, or has more samples in some: the loss has a mean
            then, and the site has none. Names the site.
    """

    def mean(what: str, values: list[Tensor | None]) -> Tensor:
        found = [value for value in values if value is not None]
        shapes = {tuple(value.shape) for value in found}
        if len(found) < len(values) or len(shapes) > 1:
            differ = (
                f"is in {len(found)} of {len(values)} particles"
                if len(found) < len(values)
                else f"has shapes {sorted(shapes)} in {len(values)} particles"
            )
            raise ValueError(
                f"{what} {differ}, as where a program branches on a value, and no mean over particles is its own; "
                "take the loss alone, which has one (loss, differentiable_loss), or the terms of one particle at a "
                "time, or sample the same sites in every run and mask what does not count"
            )
        return torch.stack(found).mean(0)

    def means(part: str) -> dict[str, Tensor]:
        names = dict.fromkeys(name for p in particles for name in getattr(p, part))
        return {
            name: mean(
                f"site {name!r}: its part of the terms", [getattr(p, part).get(name) for p in particles]
            )
            for name in names
        }

    return replace(
        particles[-1],
        distortion=mean("the distortion", [p.distortion for p in particles]),
        loss=torch.stack([p.loss for p in particles]).mean(0),
        rate=means("rate"),
        total_correlation=means("total_correlation"),
        auxiliary=means("auxiliary"),
        estimator={
            name: _estimator([p.estimator[name] for p in particles]) for name in particles[-1].estimator
        },
    )


def _estimator(found: list[str]) -> str:
    """Return how a rate was found in all particles; one that was at the draw in some is at the draw."""
    return found[0] if len(set(found)) == 1 else "monte-carlo"


def what_is_nan(terms: Terms) -> str:
    """Say which terms of a loss that is NaN are, too, and for how many samples.

    >>> what_is_nan(
    ...     Terms(
    ...         torch.tensor([1.0, torch.nan]),
    ...         {"z": torch.zeros(2)},
    ...         torch.tensor(torch.nan),
    ...     )
    ... )
    'the loss is NaN: distortion (1 of 2 values)'
    """
    rates = {f"rate of {name!r}": value for name, value in terms.rate.items()}
    correlations = {f"total correlation of {name!r}": v for name, v in terms.total_correlation.items()}
    parts = {"distortion": terms.distortion, **rates, **correlations}
    counts = {name: int(value.isnan().sum()) for name, value in parts.items()}
    told = [f"{name} ({n} of {parts[name].numel()} values)" for name, n in counts.items() if n]
    return f"the loss is NaN: {', '.join(told) or 'none of its terms, but what weights them'}"
