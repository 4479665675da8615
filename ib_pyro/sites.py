"""What an ELBO reads off the sites of a model and a guide trace."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from pyro.distributions import Delta, ExpandedDistribution, Independent, MaskedDistribution
from pyro.distributions.util import scale_and_mask
from pyro.poutine.indep_messenger import CondIndepStackFrame
from pyro.poutine.util import site_is_subsample
from pyro.util import check_site_shape
from torch import Tensor
from torch.distributions import Distribution

from ib_pyro.precision import single_or_wider

__all__ = [
    "PARTICLES",
    "Plate",
    "have_same_shapes",
    "is_deterministic",
    "hints_of",
    "is_observation",
    "is_point",
    "is_silenced",
    "log_prob_of",
    "masked",
    "num_samples",
    "own_mask",
    "per_plate",
    "plates_kept",
    "plates_of",
    "require_matching_sites",
    "require_no_other_scale",
    "require_plate_shape",
    "sample_sites",
    "scaled_sum",
]

Site = Mapping[str, Any]
PARTICLES = "num_particles_vectorized"
"""What Pyro calls the plate of vectorised particles."""


class Plate(NamedTuple):
    """A plate that values go by.

    Attributes:
        name: Its name.
        size: How many of its indices there are in a run.
        full_size: How many it has; more than ``size`` where a run takes a subsample.
    """

    name: str
    size: int
    full_size: int

    @property
    def scale(self) -> float:
        """What a sum over the indices of a run is multiplied by, to stand for all."""
        return self.full_size / self.size


def is_deterministic(site: Site) -> bool:
    """Whether a message is of ``pyro.deterministic``, which has a value and no density."""
    return bool(site["infer"].get("_deterministic"))


def is_observation(site: Site) -> bool:
    """Whether a message of the model is an observed value with a density."""
    return bool(site["is_observed"] and not is_deterministic(site))


def is_point(fn: Distribution) -> bool:
    """Whether a law is a ``Delta``, however wrapped: by ``to_event``, ``mask``, ``expand`` or transforms.

    Its value is known, and its ``log_density`` is all that it says: no rule for a KL divergence reads that.

    Args:
        fn: The law of a site.
    """
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return isinstance(fn, Delta)


def is_silenced(fn: Distribution) -> bool:
    """Whether a law is masked as a whole, by ``.mask(False)``: its site is in the objective on neither side.

    Args:
        fn: The law of a site.
    """
    while isinstance(fn, Independent | ExpandedDistribution):
        fn = fn.base_dist
    return isinstance(fn, MaskedDistribution) and fn._mask is False


def sample_sites(nodes: Mapping[str, Site]) -> dict[str, Site]:
    """Return the sample sites of a trace by name, without the subsamples of plates."""
    return {
        name: site
        for name, site in nodes.items()
        if site["type"] == "sample" and not site_is_subsample(site)  # type: ignore[arg-type]
    }


def require_matching_sites(model_sites: Mapping[str, Site], guide_sites: Mapping[str, Site]) -> None:
    """Raise unless model and guide have the same latent sites, but for auxiliary ones of the guide.

    Raises:
        ValueError: Names the sites of either side that the other lacks, or that one side observes.
        NotImplementedError: If a site of the guide is not reparameterised.
    """
    latent = {name for name, site in model_sites.items() if not site["is_observed"]}
    _require_no_data_in_guide(model_sites, guide_sites)
    own = {name for name, site in guide_sites.items() if not site["infer"].get("is_auxiliary")}
    only_model, only_guide = latent - guide_sites.keys(), own - model_sites.keys()
    if only_guide or only_model:
        raise ValueError(
            f"the sites of model and guide differ: {sorted(only_model) or 'none'} only in the model, "
            f"{sorted(only_guide) or 'none'} only in the guide; sample them in both, or mark a guide's own site "
            f"with infer={{'is_auxiliary': True}}. {hints_of(model_sites, only_model)}"
        )
    for name, site in guide_sites.items():
        if not site["fn"].has_rsample:
            raise NotImplementedError(
                f"site {name!r}: {type(site['fn']).__name__} in the guide is not reparameterised, so the rate's "
                "gradient would be wrong; use a distribution with rsample, or pyro.infer.Trace_ELBO"
            )


def hints_of(model_sites: Mapping[str, Site], names: Iterable[str]) -> str:
    """Return what a model itself says of sites that only it has, for an error that names them.

    Args:
        model_sites: The model's sites.
        names: Those that the guide lacks.
    """
    hints = sorted({str(site["infer"]["hint"]) for n in names if "hint" in (site := model_sites[n])["infer"]})
    return "; ".join(hints) or "Data that were not passed are sampled too: was an argument left out?"


def _require_no_data_in_guide(model_sites: Mapping[str, Site], guide_sites: Mapping[str, Site]) -> None:
    """Raise if the guide observes a site, or samples one that the model observes: its data would go unseen."""
    for name, site in guide_sites.items():
        auxiliary = site["infer"].get("is_auxiliary")
        if site["is_observed"] and not auxiliary:
            raise ValueError(
                f"site {name!r}: the guide observes it, but a guide proposes latents and has no data; are model and "
                "guide swapped? Otherwise leave obs= and poutine.condition out of the guide"
            )
        if name in model_sites and model_sites[name]["is_observed"]:
            raise ValueError(
                f"site {name!r}: the model observes it, but the guide samples it; leave it out of the guide, as in "
                f"poutine.block(guide, hide=[{name!r}]), or do not condition the model on it"
            )


def have_same_shapes(model_sites: Mapping[str, Site], guide_sites: Mapping[str, Site]) -> bool:
    """Whether every site that model and guide share has the same batch and event shape in both."""
    return all(
        model_sites[name]["fn"].batch_shape == site["fn"].batch_shape
        and model_sites[name]["fn"].event_shape == site["fn"].event_shape
        for name, site in guide_sites.items()
        if name in model_sites
    )


def require_plate_shape(values: Tensor, site: Site, max_plate_nesting: float) -> None:
    """Raise if a site has a batch dimension that is no plate's, or a plate of another size.

    Raises:
        ValueError: Pyro's own, which names the site and the ways out.
    """
    frames = site["cond_indep_stack"]
    if len(frames) == 1 and frames[0].dim == -1 and values.shape == (frames[0].size,):
        return
    check_site_shape({**site, "log_prob": values}, max_plate_nesting)  # type: ignore[typeddict-item, arg-type]


def log_prob_of(name: str, site: Site) -> Tensor:
    """Return a site's log density at its value, of its batch shape, before scale and mask.

    Raises:
        ValueError: If the value is outside of the support, or the law cannot invert it; names the site.
    """
    try:
        return site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
    except ValueError as error:
        raise ValueError(f"site {name!r}: {error}") from error
    except KeyError as error:  # what Pyro's flows raise that invert by what they remember alone
        raise ValueError(
            f"site {name!r}: its law has a transform that inverts only what it has drawn itself ({error}), so that it "
            "has no density at another value; give a flow that inverts, such as a coupling, or its inverse, "
            "transform.inv"
        ) from error


def masked(values: Tensor, site: Site) -> Tensor:
    """Return a site's values with those that its mask excludes set to zero."""
    if isinstance(site["mask"], Tensor):
        _require_within(values, site, "mask")
    return scale_and_mask(values, mask=site["mask"])


def scaled_sum(values: Tensor, site: Site) -> Tensor:
    """Return what a site adds to the loss: its values scaled, masked and summed, in single precision at least.

    Raises:
        ValueError: If scale or mask are of more samples than the values; names the site.
    """
    for kind in ("scale", "mask"):
        if isinstance(site[kind], Tensor):
            _require_within(values, site, kind)
    return scale_and_mask(single_or_wider(values), site["scale"], site["mask"]).sum()


def _require_within(values: Tensor, site: Site, kind: str) -> None:
    """Raise if a scale or mask would broadcast a site's values to more than they are, and count them so often."""
    shape = site[kind].shape
    try:
        fits = torch.broadcast_shapes(shape, values.shape) == values.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"site {site['name']!r}: its {kind} has shape {tuple(shape)}, and its values have {tuple(values.shape)}; "
            f"pass one to poutine.{kind} that broadcasts to the batch shape of the site"
        )


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
        One value for each index of the kept plates; vectorised particles are averaged. A sum over the subsample of
        another plate is scaled up to the whole of it, and so are values in the loop over such a subsample.
    """
    only = _only_frame(values, site)
    if only is not None and (keep is None or only.name in keep):
        return values
    frames = _frame_names(site)
    if keep is None:
        keep = plates_of(site)
    else:
        for plate in _plates(site):
            if plate.name not in keep and plate.size < plate.full_size:
                values = single_or_wider(values) * plate.scale
    dims = range(-values.dim(), 0)
    for dim in dims:
        if frames.get(dim) == PARTICLES:
            values = single_or_wider(values).mean(dim, keepdim=True)
        elif frames.get(dim) not in keep:
            values = single_or_wider(values).sum(dim, keepdim=True)
    return values.reshape([values.shape[dim] for dim in dims if frames.get(dim) in keep])


def plates_kept(values: Tensor, site: Site, keep: set[str] | None = None) -> tuple[Plate, ...]:
    """Return what the values of :func:`per_plate` go by: the plate of each dimension in turn.

    Args:
        values: As there, of the site's batch shape.
        site: As there.
        keep: As there; by default, behind those of the dimensions, the other plates around the site too, such as one
            that the program loops over.
    """
    only = _only_frame(values, site)
    if only is not None and (keep is None or only.name in keep):
        return (Plate(only.name, only.size, only.full_size or only.size),)
    frames, plates = _frame_names(site), {plate.name: plate for plate in _plates(site)}
    dims = [frames.get(dim) for dim in range(-values.dim(), 0)]
    kept = [plates[name] for name in dims if name in plates and (keep is None or name in keep)]
    if keep is None and len(kept) < len(plates):
        kept += [plate for name, plate in plates.items() if name not in dims]
    return tuple(kept)


def _only_frame(values: Tensor, site: Site) -> CondIndepStackFrame | None:
    """Return the frame of the one plate around a site whose values are a vector, which is what most sites are in."""
    frames = site["cond_indep_stack"]
    if len(frames) != 1 or values.dim() != 1:
        return None
    frame: CondIndepStackFrame = frames[0]
    return frame if frame.dim == -1 and frame.vectorized and frame.name != PARTICLES else None


def _frame_names(site: Site) -> dict[int, str]:
    """Return the names of the vectorised plates around a site by their dimension."""
    return {frame.dim: frame.name for frame in site["cond_indep_stack"] if frame.vectorized}


def _plates(site: Site) -> list[Plate]:
    """Return all plates around a site, without that of the particles."""
    return [
        Plate(frame.name, frame.size, frame.full_size or frame.size)
        for frame in site["cond_indep_stack"]
        if frame.name != PARTICLES
    ]


def num_samples(site: Site) -> float | Tensor:
    """Return the number of samples that a site stands for: its batch, scaled when subsampled, without those masked.

    Masked are samples by ``poutine.mask`` and by the law's own ``.mask()``, but not a law that is left out as a whole.

    Args:
        site: The site's message.
    """
    shape, own = site["fn"].batch_shape, own_mask(site["fn"])
    if site["mask"] is None and not isinstance(site["scale"], Tensor) and isinstance(own, bool):
        return site["scale"] * max(shape.numel(), 1)
    counted = site["value"].new_ones(shape)
    return scaled_sum(counted if isinstance(own, bool) else counted * own, site)


def own_mask(fn: Distribution) -> Tensor | bool:
    """Return which samples a law counts by its own ``.mask()``, however wrapped: ``[*batch]``, or all or none.

    A sample of several units, masked one by one, counts if one of them does.

    Args:
        fn: The law of a site.
    """
    found: Tensor | bool = True
    event_dim = 0
    while isinstance(fn, Independent | MaskedDistribution | ExpandedDistribution):
        if isinstance(fn, Independent):
            event_dim += fn.reinterpreted_batch_ndims
        elif isinstance(fn, MaskedDistribution):
            mask = fn._mask
            if isinstance(mask, Tensor) and event_dim:
                mask = mask.expand(fn.batch_shape).flatten(-event_dim).any(-1)
            found = mask & found
        fn = fn.base_dist
    return found


def require_no_other_scale(name: str, site: Site, plates: set[str]) -> float:
    """Return what plates scale a site by, and raise if it is scaled by something else.

    The importance weight of a single sample leaves the scale of its plates out, and has no room for another.

    Args:
        name: The site's name.
        site: Its message.
        plates: The plates whose scale is accounted for.

    Raises:
        ValueError: Names the site and both scales.
    """
    frames = [frame for frame in site["cond_indep_stack"] if frame.name in plates]
    expected = math.prod((frame.full_size or frame.size) / frame.size for frame in frames)
    scale = site["scale"]
    if isinstance(scale, Tensor):
        is_that = torch.allclose(scale, torch.full_like(scale, expected), rtol=1e-6)
    else:
        is_that = math.isclose(scale, expected, rel_tol=1e-6)
    if not is_that:
        raise ValueError(
            f"site {name!r}: its scale is {site['scale']}, where its plates account for {expected:g}; a likelihood "
            "takes densities as they are: pass all the data at once, and leave poutine.scale out"
        )
    return expected
