"""The rate of each unit of a site whose units are independent under both laws."""

import torch
from pyro.distributions import MaskedDistribution
from torch import Tensor
from torch.distributions import Distribution

from ib_pyro.closed_forms import closed_form
from ib_pyro.distributions import FactorizedLogNormal
from ib_pyro.handlers import unwrap
from ib_pyro.precision import single_or_wider
from ib_pyro.sites import Site, is_silenced

__all__ = ["sum_of_units", "unit_rates"]


def unit_rates(name: str, guide_site: Site, model_site: Site, estimator: str) -> Tensor:
    """Return the rates of single units, which sum to that of the site.

    Args:
        name: The site's name.
        guide_site: Its message in the guide's trace.
        model_site: Its message in the model's trace.
        estimator: How the site's rate was found: ``"analytic"``, or at the draw.

    Returns:
        Nats, of the shape of z.

    Raises:
        ValueError: If the units of one of the laws depend on each other; names the site and the law.
    """
    posterior, prior = guide_site["fn"], model_site["fn"]
    shape = posterior.batch_shape + posterior.event_shape
    if is_silenced(posterior) and is_silenced(prior):
        return guide_site["value"].new_zeros(shape)
    p, q = _units_of(name, posterior), _units_of(name, prior)
    if estimator == "analytic":
        return closed_form(p, q).expand(shape)
    value = guide_site["value"]
    return (p.log_prob(value) - q.log_prob(value)).expand(shape)


def sum_of_units(units: Tensor, site: Site) -> Tensor:
    """Return what each unit adds to the loss: its rate scaled, masked and summed over samples, ``[*event]``.

    Args:
        units: Rates of single units, of the shape of z.
        site: The site's message in the guide.
    """
    event_dim = len(site["fn"].event_shape)
    units = single_or_wider(units)
    for name in ("scale", "mask"):
        values = site[name]
        if isinstance(values, Tensor):
            values = values.reshape(values.shape + (1,) * event_dim)
        if name == "scale":
            units = units * values
        elif isinstance(values, Tensor):
            units = torch.where(values, units, units.new_zeros(()))
        elif values is False:
            units = torch.zeros_like(units)
    return units.sum(tuple(range(units.dim() - event_dim))) if units.dim() > event_dim else units


def _units_of(name: str, fn: Distribution) -> Distribution:
    units = unwrap(fn)
    if isinstance(units, FactorizedLogNormal):
        units = units.units
    if units.event_shape or isinstance(fn, MaskedDistribution):
        what = (
            "is masked by .mask()"
            if isinstance(fn, MaskedDistribution)
            else "has units that depend on each other"
        )
        raise ValueError(
            f"site {name!r}: {type(units).__name__} {what}, and free bits per unit are of single units; use "
            'per="sample" or per="site"'
        )
    return units
