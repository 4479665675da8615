"""What is read off a draw: named tensors, by group and variable."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from ib_pyro.elbo.attribution import attribute
from ib_pyro.elbo.site_rate import Rate, site_rate
from ib_pyro.elbo.sites import Site, is_observation, log_prob_of, masked, per_plate, scaled_sum
from ib_pyro.export.dimensions import Dimensions
from ib_pyro.export.draws import Draw, Sites
from ib_pyro.export.noise import noise_variables
from ib_pyro.handlers import unwrap

__all__ = ["Key", "Quantity", "Reader", "Record"]

Key = tuple[str, str]


class Quantity(NamedTuple):
    """A tensor with the names of its dimensions, and what to say of it."""

    values: Tensor
    dims: tuple[str, ...]
    attrs: Mapping[str, str] = MappingProxyType({})


Record = dict[Key, Quantity]


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

    def draw(self, draw: Draw, predictive: dict[str, tuple[Tensor, Site]]) -> Record:
        """Return what differs from draw to draw: posterior, statistics, predictive and likelihood."""
        record: Record = {}
        if "posterior" in self.groups:
            record |= self._posterior(draw)
        if "sample_stats" in self.groups:
            record |= self._statistics(draw)
        if "log_likelihood" in self.groups:
            for name, site in draw.observed.items():
                log_prob = masked(log_prob_of(name, site), site)
                record["log_likelihood", name] = self._place(log_prob, site, text="log p(y|z)", units="nats")
        if "posterior_predictive" in self.groups:
            for name, (values, site) in predictive.items():
                record["posterior_predictive", name] = self._value(values, site)
        return record

    def observed(self, draw: Draw) -> Record:
        """Return the observed data."""
        if "observed_data" not in self.groups:
            return {}
        return {("observed_data", n): self._value(site["value"], site) for n, site in draw.observed.items()}

    def prior(self, sites: Sites, draw: Draw) -> Record:
        """Return a draw from the prior, and from the prior predictive."""
        record: Record = {}
        for name in draw.latent:
            if name in self.sites and "prior" in self.groups:
                is_layer = hasattr(unwrap(draw.guide[name]["fn"]), "noise_free")
                record["prior", name] = self._value(sites[name]["value"], sites[name], is_layer=is_layer)
        for name in [*draw.observed, *draw.predicted]:
            if "prior_predictive" in self.groups:
                record["prior_predictive", name] = self._value(sites[name]["value"], sites[name])
        return record

    def _posterior(self, draw: Draw) -> Record:
        record: Record = {}
        for name in draw.latent:
            if name not in self.sites:
                continue
            # The model's site knows the plates by their names there.
            site, fn = draw.model[name], draw.guide[name]["fn"]
            is_layer = hasattr(unwrap(fn), "noise_free")
            z = site["value"]
            record["posterior", name] = self._value(z, site, is_layer=is_layer, text="z")
            own = self.dimensions.own(name, fn.event_dim, is_layer=is_layer)
            for suffix, variable in noise_variables(fn, z).items():
                key = "posterior", f"{name}_{suffix}"
                record[key] = self._place(variable.values, site, own, text=variable.long_name)
        for name, site in draw.deterministic.items():
            if name in self.sites:
                record["posterior", name] = self._deterministic(name, site)
        return record

    def _statistics(self, draw: Draw) -> Record:
        record: Record = {}
        for name, (rate, site, estimator) in _rates(draw).items():
            text = f"rate of site {name}, KL(p(z|x) || q(z))"
            quantity = self._place(rate, site, text=text, units="nats", estimator=estimator)
            record["sample_stats", f"{name}_rate"] = quantity
        observations = [(n, s) for n, s in draw.model.items() if is_observation(s)]
        plate = self.dimensions.plate
        keep = {plate} if plate is not None else set()
        if observations:
            log_probs = [per_plate(masked(log_prob_of(n, s), s), s, keep) for n, s in observations]
            dims = (self.dimensions.data_dim,) if plate is not None else ()
            attrs = {"long_name": "distortion, -log p(y|z)", "units": "nats"}
            record["sample_stats", "distortion"] = Quantity(-torch.stack(log_probs).sum(0), dims, attrs)
        return record

    def _value(self, values: Tensor, site: Site, *, is_layer: bool = False, text: str = "") -> Quantity:
        own = self.dimensions.own(site["name"], site["fn"].event_dim, is_layer=is_layer)
        return self._place(values.expand(site["fn"].shape()), site, own, text=text)

    def _deterministic(self, name: str, site: Site) -> Quantity:
        # By default Pyro takes all dimensions for the event's, also those of the plates around.
        plates = max((-f.dim for f in site["cond_indep_stack"] if f.vectorized), default=0)
        own = self.dimensions.own(name, max(site["value"].dim() - plates, 0))
        return self._place(site["value"], site, own, text="deterministic")

    def _place(
        self, values: Tensor, site: Site, own: tuple[str, ...] = (), *, text: str = "", **attrs: str
    ) -> Quantity:
        placed, dims = self.dimensions.place(values, site, own)
        return Quantity(placed, dims, ({"long_name": text} if text else {}) | attrs)


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
