"""The log weight ``log p(y, z) - log q(z)`` of each sample, for one run of a model and guide."""

from collections.abc import Mapping
from typing import NamedTuple, Self

import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor

from ib_pyro.elbo.site_rate import require_same_scale
from ib_pyro.precision import single_or_wider
from ib_pyro.sites import (
    PARTICLES,
    Site,
    is_deterministic,
    is_observation,
    log_prob_of,
    masked,
    plates_of,
    require_no_other_scale,
    require_plate_shape,
)

__all__ = ["ParticleWeights"]

Sites = Mapping[str, Site]


class ParticleWeights(NamedTuple):
    """Densities of one run, and what they sum to for each index of the plates that all sites share.

    Attributes:
        log_joint: ``log p(y, z)``, ``[*plates]``, with the dimension of vectorised particles in front.
        log_proposal: ``log q(z)``, of the same shape.
        log_likelihoods: Log density of each observed site, of its batch shape.
        log_priors: Log density of each latent site in the model.
        log_posteriors: That of each site of the guide.
        scale: What the plates scale every sample by.
        plates: Names of the plates.
    """

    log_joint: Tensor
    log_proposal: Tensor
    log_likelihoods: dict[str, Tensor]
    log_priors: dict[str, Tensor]
    log_posteriors: dict[str, Tensor]
    scale: float
    plates: frozenset[str]

    @property
    def log_weight(self) -> Tensor:
        """``log p(y, z) - log q(z)``, in nats."""
        return self.log_joint - self.log_proposal

    @classmethod
    def of(cls, model_sites: Sites, guide_sites: Sites, max_plate_nesting: float) -> Self:
        """Score one run.

        Args:
            model_sites: Sites of the model, the latent ones with the values of the guide.
            guide_sites: Sites of the guide.
            max_plate_nesting: How deep plates are nested, as the objective knows it.

        Raises:
            ValueError: If a sample has no weight of its own, because latents are in different plates or scaled by
                something else than plates, or a site is masked on one side only; names the site.
        """
        model_sites = {name: site for name, site in model_sites.items() if not is_deterministic(site)}
        shared = _shared_plates(model_sites, guide_sites)
        scale = 1.0
        densities: list[dict[str, Tensor]] = []
        for side in (model_sites, guide_sites):
            densities.append({})
            for name, site in side.items():
                scale = require_no_other_scale(name, site, shared)
                densities[-1][name] = values = log_prob_of(name, site)
                if is_validation_enabled():
                    require_plate_shape(values, site, max_plate_nesting)
        for name in guide_sites.keys() & model_sites.keys():
            require_same_scale(name, guide_sites[name], model_sites[name])
        model, guide = densities
        observed = {name for name in model if is_observation(model_sites[name])}
        return cls(
            _summed(model, model_sites, shared),
            _summed(guide, guide_sites, shared),
            {name: values for name, values in model.items() if name in observed},
            {name: values for name, values in model.items() if name not in observed},
            guide,
            scale,
            frozenset(shared),
        )


def _shared_plates(model_sites: Sites, guide_sites: Sites) -> set[str]:
    """Return the plates of all sites, and raise unless they are all that the latents are in."""
    sites = [*model_sites.values(), *guide_sites.values()]
    shared = set.intersection(*map(plates_of, sites)) if sites else set()
    for name, site in guide_sites.items():
        if plates_of(site) != shared:
            others = [other for other in (*model_sites, *guide_sites) if other != name]
            raise ValueError(
                f"site {name!r}: it is in the plates {sorted(plates_of(site))}, but with {sorted(set(others))} it "
                f"shares only {sorted(shared)}, so that samples have no importance weight each of their own. Give all "
                "latents the same plates (what is one sample's own goes into the event, by to_event), or use "
                "InformationBottleneckELBO"
            )
    return shared


def _summed(densities: Mapping[str, Tensor], sites: Sites, keep: set[str]) -> Tensor:
    total: Tensor | float = 0.0
    for name, values in densities.items():
        site = sites[name]
        # Half precision would round a sum over plates, and the difference of two large ones, to nothing.
        values = single_or_wider(masked(values, site))
        frames = {frame.dim: frame.name for frame in site["cond_indep_stack"] if frame.vectorized}
        kept = [d for d in range(-values.dim(), 0) if frames.get(d) == PARTICLES or frames.get(d) in keep]
        dims = [d for d in range(-values.dim(), 0) if d not in kept]
        shape = [values.shape[d] for d in kept]
        total = total + (values.sum(dims) if dims else values).reshape(shape)
    return torch.as_tensor(total)
