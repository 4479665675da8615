"""What an ELBO reads off the sites of a model and a guide trace."""

from collections.abc import Mapping
from typing import Any

from pyro.distributions.util import scale_and_mask
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample
from torch import Tensor

__all__ = [
    "log_prob_of",
    "is_observation",
    "latent_sites",
    "masked",
    "num_samples",
    "owner_of",
    "per_plate",
    "plates_of",
    "require_matching_sites",
    "scaled_sum",
]

Site = Mapping[str, Any]
PARTICLES = "num_particles_vectorized"


def is_observation(site: Site) -> bool:
    """Whether a message of the model is an observed value with a density."""
    return bool(site["type"] == "sample" and site["is_observed"] and not site["infer"].get("_deterministic"))


def latent_sites(trace: Trace) -> dict[str, Site]:
    """Return the latent sites of a trace by name, without the subsamples of plates."""
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not site["is_observed"] and not site_is_subsample(site)
    }


def require_matching_sites(model_trace: Trace, guide_trace: Trace) -> None:
    """Raise unless model and guide have the same latent sites, but for auxiliary ones of the guide.

    Raises:
        ValueError: Names the sites of either side that the other lacks.
        NotImplementedError: If a site of the guide is not reparameterised.
    """
    guide_sites, model_sites = latent_sites(guide_trace), latent_sites(model_trace)
    auxiliary = {name for name, site in guide_sites.items() if site["infer"].get("is_auxiliary")}
    only_guide = guide_sites.keys() - model_sites.keys() - auxiliary
    only_model = model_sites.keys() - guide_sites.keys()
    if only_guide or only_model:
        raise ValueError(
            f"the sites of model and guide differ: {sorted(only_model) or 'none'} only in the model, "
            f"{sorted(only_guide) or 'none'} only in the guide; sample them in both, or mark a guide's own site "
            "with infer={'is_auxiliary': True}"
        )
    for name, site in guide_sites.items():
        if not site["fn"].has_rsample:
            raise NotImplementedError(
                f"site {name!r}: {type(site['fn']).__name__} in the guide is not reparameterised, so the rate's "
                "gradient would be wrong; use a distribution with rsample, or pyro.infer.Trace_ELBO"
            )


def log_prob_of(name: str, site: Site) -> Tensor:
    """Return a site's log density at its value, of its batch shape, before scale and mask.

    Raises:
        ValueError: If the value is outside of the support; names the site.
    """
    try:
        return site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
    except ValueError as error:
        raise ValueError(f"site {name!r}: {error}") from error


def masked(values: Tensor, site: Site) -> Tensor:
    """Return a site's values with those that its mask excludes set to zero."""
    return scale_and_mask(values, mask=site["mask"])


def scaled_sum(values: Tensor, site: Site) -> Tensor:
    """Return the site's contribution to the loss: its values scaled, masked and summed."""
    return scale_and_mask(values, site["scale"], site["mask"]).sum()


def plates_of(site: Site) -> set[str]:
    """Return the names of the vectorised plates around a site, without that of the particles."""
    return {frame.name for frame in site["cond_indep_stack"] if frame.vectorized and frame.name != PARTICLES}


def per_plate(values: Tensor, site: Site, keep: set[str] | None = None) -> Tensor:
    """Sum a site's values over every batch dimension that is not one of the plates to keep.

    Args:
        values: A tensor of the site's batch shape.
        site: The site's message.
        keep: Names of the plates to keep; by default all of the site's own.

    Returns:
        One value for each index of the kept plates; vectorised particles are averaged.
    """
    frames = {frame.dim: frame.name for frame in site["cond_indep_stack"] if frame.vectorized}
    keep = plates_of(site) if keep is None else keep
    if values.dim() == 1 and frames.get(-1) in keep:
        return values
    dims = range(-values.dim(), 0)
    for dim in dims:
        if frames.get(dim) == PARTICLES:
            values = values.mean(dim, keepdim=True)
        elif frames.get(dim) not in keep:
            values = values.sum(dim, keepdim=True)
    return values.reshape([values.shape[dim] for dim in dims if frames.get(dim) in keep])


def num_samples(site: Site) -> float | Tensor:
    """Return the number of samples that a site in a plate stands for: its batch, scaled when subsampled."""
    fn = site["fn"]
    return site["scale"] * max(fn.batch_shape.numel(), 1)


def owner_of(name: str, sites: dict[str, Site]) -> str:
    """Return the site that an automatic guide's auxiliary site belongs to, or its own name."""
    owner = name.removesuffix("_unconstrained")
    return owner if owner in sites else name
