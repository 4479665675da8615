"""Marginal likelihood of a program by importance weighting, sample by sample."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ib_pyro.buffers import buffers_kept, modules_behind
from ib_pyro.elbo.site_rate import require_same_scale
from ib_pyro.information import importance_weighted_bound
from ib_pyro.sites import (
    Site,
    is_deterministic,
    log_prob_of,
    masked,
    per_plate,
    plates_of,
    require_no_other_scale,
    sample_sites,
)
from ib_pyro.subsamples import SamplesOf, one_subsample, require_same_samples
from ib_pyro.traces import EVERY_SITE, trace_pair

__all__ = ["importance_log_weights", "importance_weighted_log_likelihood"]

Program = Callable[..., Any]


def importance_weighted_log_likelihood(
    model: Program, guide: Program, *args: Any, num_samples: int = 64, **kwargs: Any
) -> Tensor:
    r"""Lower bound on the log-likelihood that tightens as the number of samples grows.

    .. math:: \log p(y) \ge E\Big[\log \frac1K \sum_k \frac{p(y, z_k)}{q(z_k)}\Big], \qquad z_k \sim q

    Burda et al. (2016), eq. (8). With K = 1 it is the negative of the loss of an ELBO with beta = 1, in expectation.
    It is a likelihood only under proper priors: against an improper log-uniform prior it has a free constant.

    Args:
        model: The model, with the data observed.
        guide: The guide.
        *args: Their arguments, such as x and y.
        num_samples: Number of draws K.
        **kwargs: Their keyword arguments.

    Returns:
        Nats for each index of the plates that all sites share, ``[batch]``, without gradient; a scalar for the whole
        data where a latent is outside of every plate.

    Raises:
        ValueError: As :func:`importance_log_weights`.
    """
    return importance_weighted_bound(
        importance_log_weights(model, guide, *args, num_samples=num_samples, **kwargs)
    )


@torch.no_grad()
def importance_log_weights(
    model: Program, guide: Program, *args: Any, num_samples: int = 64, **kwargs: Any
) -> Tensor:
    r"""Log-weights ``log p(y, z_k) - log q(z_k)`` of draws from the guide.

    Their effective sample size, :func:`ib_pyro.information.effective_sample_size`, says how far to trust a bound that
    rests on them. The plates' own scale is left out, since each sample of a batch has its own weight; of a plate that
    draws a subsample, all draws are for one.
    Draws are from PyTorch's ambient generator; buffers, such as the statistics of batch norm, stay as they are.

    Args:
        model: The model, with the data observed.
        guide: The guide; it need not be reparameterised.
        *args: Their arguments, such as x and y.
        num_samples: Number of draws K.
        **kwargs: Their keyword arguments.

    Returns:
        Nats, ``[K, batch]``, or ``[K]`` where a latent is outside of every plate.

    Raises:
        ValueError: If there are no draws, the sites of model and guide differ, a site is scaled by something else than
            a plate that all sites share, so that its density is not that of the data at hand, or masked on one side
            only, or the plates differ from draw to draw.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1; got {num_samples}")
    with buffers_kept(modules_behind(model, guide)), one_subsample():
        weights, samples = zip(
            *(_log_weight(model, guide, args, kwargs) for _ in range(num_samples)), strict=True
        )
    require_same_samples(samples)
    return torch.stack(weights)


def _log_weight(
    model: Program, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, SamplesOf]:
    pair = trace_pair(model, guide, args, kwargs, in_any_order=EVERY_SITE)
    model_sites, guide_sites = (
        {name: site for name, site in sample_sites(trace.nodes).items() if not is_deterministic(site)}
        for trace in (pair.model, pair.guide)
    )
    _require_latents_of(model_sites, guide_sites)
    sites = [*model_sites.values(), *guide_sites.values()]
    shared = set.intersection(*map(plates_of, sites)) if sites else set()
    weight: Tensor | float = 0.0
    for sign, side in ((1.0, model_sites), (-1.0, guide_sites)):
        for name, site in side.items():
            require_no_other_scale(name, site, shared)
            log_prob = masked(log_prob_of(name, site), site)
            # Half precision would round a sum over plates, and the difference of two large ones, to nothing.
            log_prob = log_prob.to(torch.promote_types(log_prob.dtype, torch.float32))
            weight = weight + sign * per_plate(log_prob, site, shared)
    for name in guide_sites.keys() & model_sites.keys():
        require_same_scale(name, guide_sites[name], model_sites[name])
    weight = torch.as_tensor(weight)
    return weight, SamplesOf(tuple(weight.shape), frozenset(shared))


def _require_latents_of(model_sites: Mapping[str, Site], guide_sites: Mapping[str, Site]) -> None:
    latent = {name for name, site in model_sites.items() if not site["is_observed"]}
    own = {name for name, site in guide_sites.items() if not site["infer"].get("is_auxiliary")}
    if latent - guide_sites.keys() or own - latent:
        raise ValueError(
            f"the sites of model and guide differ: {sorted(latent - guide_sites.keys()) or 'none'} only in the model, "
            f"{sorted(own - latent) or 'none'} only in the guide; sample them in both"
        )
