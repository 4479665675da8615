"""What is read off a draw: a record of named tensors, by group and variable, no two of one name."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from ib_pyro.elbo.attribution import attribute
from ib_pyro.elbo.site_rate import Rate, site_rate
from ib_pyro.export.draws import Draw, Sites
from ib_pyro.export.names import Dimensions
from ib_pyro.export.noise import noise_variables
from ib_pyro.export.observed_part import data_with_gaps, label_of_observed, observed_part
from ib_pyro.handlers import value_without_noise
from ib_pyro.sites import Site, log_prob_of, masked, per_plate, plates_of, scaled_sum

__all__ = ["Key", "Quantity", "Reader", "Record", "gather"]

Key = tuple[str, str]
"""Group and name of a variable."""


class Quantity(NamedTuple):
    """A tensor with the names of its dimensions, and what to say of it.

    Attributes:
        values: The tensor.
        dims: Names of its dimensions.
        attrs: What to say of it in the result.
        claimant: What it is, for an error: "the draws of site 'z1'".
        is_label: Whether it is a truth value that says something of the other variables of its group, in all draws
            the same, and stands in the result as their coordinate.
    """

    values: Tensor
    dims: tuple[str, ...]
    attrs: Mapping[str, str] = MappingProxyType({})
    claimant: str = ""
    is_label: bool = False


Record = dict[Key, Quantity]
Items = Iterator[tuple[Key, Quantity]]


@dataclass(frozen=True)
class Reader:
    """Reads the variables of some groups off a draw.

    Attributes:
        groups: Names of the groups to read.
        sites: Latent and deterministic sites whose values are wanted.
        dimensions: How dimensions are called.
    """

    groups: frozenset[str]
    sites: frozenset[str]
    dimensions: Dimensions

    def draw(self, draw: Draw, predictive: dict[str, tuple[Tensor, Site]]) -> Items:
        """Return what differs from draw to draw: posterior, statistics, predictive and likelihood."""
        if "posterior" in self.groups:
            yield from self._posterior(draw)
        if "sample_stats" in self.groups:
            yield from self._statistics(draw)
        if "log_likelihood" in self.groups:
            for name, site in draw.observed.items():
                yield from self._log_likelihood(name, site)
        if "posterior_predictive" in self.groups:
            for name, (values, site) in predictive.items():
                yield ("posterior_predictive", name), self._value(values, site)

    def observed(self, draw: Draw) -> Items:
        """Return the observed data."""
        if "observed_data" in self.groups:
            for name, site in draw.observed.items():
                values, part = site["value"], observed_part(site)
                if part is not None:
                    values = data_with_gaps(values.expand(part.shape), part)
                comment = "" if part is None else f"NaN where {name} is not observed"
                yield ("observed_data", name), self._value(values, site, comment=comment)

    def prior(self, sites: Sites, draw: Draw) -> Items:
        """Return a draw from the prior, and from the prior predictive."""
        for name in draw.latent:
            if name in self.sites and name in sites and "prior" in self.groups:
                is_layer = value_without_noise(draw.guide[name]["fn"]) is not None
                yield ("prior", name), self._value(sites[name]["value"], sites[name], is_layer=is_layer)
        for name in [*draw.observed, *draw.predicted]:
            if name in sites and "prior_predictive" in self.groups:
                yield ("prior_predictive", name), self._value(sites[name]["value"], sites[name])

    def _log_likelihood(self, name: str, site: Site) -> Items:
        """Return ``log p(y|z)``, missing where nothing is observed, and if something is masked, where that is."""
        log_prob, part = masked(log_prob_of(name, site), site), observed_part(site)
        comment = ""
        if part is not None:
            part = part.flatten(len(site["fn"].batch_shape)).any(-1) if site["fn"].event_shape else part
            log_prob = torch.where(part, log_prob, torch.nan)
            quantity = self._place(part, site, text=f"whether {name} is observed")
            claimant = f"which part of site {name!r} is observed"
            yield (
                ("log_likelihood", label_of_observed(name)),
                quantity._replace(claimant=claimant, is_label=True),
            )
            comment = f"NaN where {name} is not observed"
        yield (
            ("log_likelihood", name),
            self._place(log_prob, site, text="log p(y|z)", units="nats", comment=comment),
        )

    def _posterior(self, draw: Draw) -> Items:
        for name in draw.latent:
            if name not in self.sites:
                continue
            # The model's site knows the plates by their names there.
            site, fn = draw.model[name], draw.guide[name]["fn"]
            is_layer = value_without_noise(fn) is not None
            z = site["value"]
            yield ("posterior", name), self._value(z, site, is_layer=is_layer, text="z")
            own = self.dimensions.own(name, fn.event_dim, is_layer=is_layer)
            for suffix, variable in noise_variables(fn, z).items():
                values = variable.values.expand(site["fn"].shape())
                quantity = self._place(values, site, own, text=variable.long_name)
                claimant = f"the noise's {suffix} of site {name!r}"
                yield ("posterior", f"{name}_{suffix}"), quantity._replace(claimant=claimant)
        for name, site in draw.deterministic.items():
            if name in self.sites:
                yield ("posterior", name), self._deterministic(name, site)

    def _statistics(self, draw: Draw) -> Items:
        for name, (rate, site, estimator) in _rates(draw).items():
            is_charged = estimator != "none"
            text = f"rate of site {name}, " + ("KL(p(z|x) || q(z))" if is_charged else "not charged")
            quantity = self._place(rate, site, text=text, units="nats", estimator=estimator)
            yield ("sample_stats", f"{name}_rate"), quantity._replace(claimant=f"the rate of site {name!r}")
        for name, quantity in self._distortions(draw).items():
            yield ("sample_stats", name), quantity

    def _distortions(self, draw: Draw) -> dict[str, Quantity]:
        """Return ``-log p(y|z)`` of the observations, and apart from it of those that belong to no row of x."""
        plate, text = self.dimensions.plate, "distortion, -log p(y|z)"
        parts: dict[str, list[Tensor]] = {}
        for name, site in draw.with_density.items():
            keep = {name for name in plates_of(site) if name == plate}
            log_prob = masked(log_prob_of(name, site), site)
            # A sum over plates in half precision would stop counting.
            log_prob = per_plate(log_prob.to(torch.promote_types(log_prob.dtype, torch.float32)), site, keep)
            parts.setdefault("distortion" if keep or plate is None else "distortion_global", []).append(
                log_prob
            )
        said = {"distortion": text, "distortion_global": f"{text}, outside of the plate over x"}
        return {
            name: Quantity(
                -torch.stack(log_probs).sum(0),
                (self.dimensions.data_dim,)[: log_probs[0].dim()],
                {"long_name": said[name], "units": "nats"},
                f"the {name}",
            )
            for name, log_probs in parts.items()
        }

    def _value(
        self, values: Tensor, site: Site, *, is_layer: bool = False, text: str = "", comment: str = ""
    ) -> Quantity:
        own = self.dimensions.own(site["name"], site["fn"].event_dim, is_layer=is_layer)
        return self._place(values.expand(site["fn"].shape()), site, own, text=text, comment=comment)

    def _deterministic(self, name: str, site: Site) -> Quantity:
        # By default Pyro takes all dimensions for the event's, also those of the plates around.
        plates = max((-f.dim for f in site["cond_indep_stack"] if f.vectorized), default=0)
        own = self.dimensions.own(name, max(site["value"].dim() - plates, 0))
        return self._place(site["value"], site, own, text="deterministic")

    def _place(
        self, values: Tensor, site: Site, own: tuple[str, ...] = (), *, text: str = "", **attrs: str
    ) -> Quantity:
        placed, dims = self.dimensions.place(values, site, own)
        attrs = {name: said for name, said in {"long_name": text, **attrs}.items() if said}
        return Quantity(placed, dims, attrs, f"site {site['name']!r}")


def gather(*parts: Iterable[tuple[Key, Quantity]]) -> Record:
    """Return named tensors as a record.

    Raises:
        ValueError: If two of a group have the same name; names both.
    """
    record: Record = {}
    for part in parts:
        for (group, name), quantity in part:
            if (group, name) in record:
                raise ValueError(
                    f"group {group!r}: {record[group, name].claimant} and {quantity.claimant} would both be called "
                    f"{name!r}, and one of them be lost; rename a site, or keep the values of one of the two alone "
                    "with sites="
                )
            record[group, name] = quantity
    return record


def _rates(draw: Draw) -> dict[str, tuple[Tensor, Site, str]]:
    """Return each rate, of its batch shape, the site that has its plates, and how it was found."""
    attribution = attribute(draw.guide, draw.model)
    parts: dict[str, list[tuple[Tensor, Site, str]]] = {}
    for name, guide_site in draw.guide.items():
        rate, site = attribution.rate_of[name], draw.model.get(name, guide_site)
        if rate is None:
            continue
        found = _rate(name, guide_site, site, draw)
        values = masked(found.values.expand(site["fn"].batch_shape), guide_site)
        if rate in attribution.joint:
            # Latents drawn together have one rate for all of their samples.
            values, site = (
                scaled_sum(found.values, guide_site),
                {**site, "name": rate, "cond_indep_stack": ()},
            )
        parts.setdefault(rate, []).append((values, site, found.estimator))
    return {
        rate: (
            sum((values for values, _, _ in found[1:]), start=found[0][0]),
            found[-1][1],
            found[0][2] if len(found) == 1 else "monte-carlo",
        )
        for rate, found in parts.items()
    }


def _rate(name: str, guide_site: Site, model_site: Site, draw: Draw) -> Rate:
    if name not in draw.model:
        return Rate(log_prob_of(name, guide_site), "monte-carlo")
    later = draw.later.get(name, frozenset())
    return site_rate(name, guide_site, model_site, on_no_closed_form="monte-carlo", later=later)
