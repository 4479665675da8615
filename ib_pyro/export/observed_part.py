"""What of a site is observed: all but what a mask leaves out, which is missing and no observation."""

import torch
from pyro.distributions import ExpandedDistribution, Independent, MaskedDistribution
from torch import Tensor
from torch.distributions import Distribution

from ib_pyro.sites import Site

__all__ = ["data_with_gaps", "label_of_observed", "observed_part"]


def label_of_observed(site: str) -> str:
    """Return the name of the coordinate that says which values of a site's log likelihood are of an observation.

    Args:
        site: The site's name; files take no coordinate whose name has a space.

    >>> label_of_observed("y")
    'y_is_observed'
    """
    return "_".join([*site.split(), "is_observed"])


def observed_part(site: Site) -> Tensor | None:
    """Return the truth value of each element of a site's value, whether it is observed; None if nothing is masked.

    A mask is ``poutine.mask``'s, or the law's own, ``.mask()``, also below ``.to_event()``: an image may miss pixels.

    Args:
        site: The message of an observed site.

    Returns:
        Of the shape of its value: batch shape and event shape.
    """
    fn = site["fn"]
    parts = [_at_events(site["mask"], fn), _part_of_law(fn)]
    masks = [part for part in parts if part is not None]
    if not masks:
        return None
    device = site["value"].device
    part = torch.ones((), dtype=torch.bool, device=device)
    for mask in masks:
        part = part & mask.to(device)
    return part.expand(fn.shape())


def data_with_gaps(values: Tensor, part: Tensor) -> Tensor:
    """Return data with NaN where nothing is observed; what has no NaN is of double precision then.

    Args:
        values: The site's value.
        part: Whether each element of it is observed, of its shape.
    """
    if not (values.is_floating_point() or values.is_complex()):
        values = values.cpu().double()  # not every device has double precision
        part = part.cpu()
    return torch.where(part, values, torch.nan)


def _part_of_law(fn: Distribution) -> Tensor | None:
    if isinstance(fn, MaskedDistribution):
        own, inner = _at_events(fn._mask, fn), _part_of_law(fn.base_dist)
        return own if inner is None else inner if own is None else own & inner
    # Other wrappers, such as transforms, keep a density where the law inside of them is masked.
    return _part_of_law(fn.base_dist) if isinstance(fn, Independent | ExpandedDistribution) else None


def _at_events(mask: Tensor | bool | None, fn: Distribution) -> Tensor | None:
    """Return a mask over batches as one that broadcasts over events too."""
    if mask is None or mask is True:
        return None
    if not isinstance(mask, Tensor):
        return torch.zeros((), dtype=torch.bool)
    return mask.reshape(mask.shape + (1,) * len(fn.event_shape))
