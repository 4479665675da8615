"""What a batch's values say of its samples, one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ib_pyro.elbo import Terms
from ib_pyro.sites import Plate

__all__ = ["by_sample", "plate_of_samples", "terms_by_sample"]


def terms_by_sample(
    terms: Terms, size: int, whole: int, *, dtype: torch.dtype | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the distortion and the rates of the samples of a batch, each as :func:`by_sample` does.

    Args:
        terms: The terms of the batch.
        size: Samples in it.
        whole: Samples that share a value outside of their plate: those of the set that the batch is a subsample of, or
            of the batch itself.
        dtype: Type to sum in, if not that of the terms.
    """
    samples = plate_of_samples(terms.plates, size, whole)

    def of_samples(values: Tensor, plates: Sequence[Plate]) -> Tensor:
        return by_sample(values if dtype is None else values.to(dtype), plates, samples, whole)

    rates = {name: of_samples(rate, terms.rate_plates[name]) for name, rate in terms.rate.items()}
    return of_samples(terms.distortion, terms.plates), rates


def plate_of_samples(plates: Sequence[Plate], size: int, whole: int) -> Plate | None:
    """Return which of the plates around all that is observed is that of the samples, the outermost if several may be.

    Args:
        plates: Those plates, from the left.
        size: Samples in the batch.
        whole: Samples in the set.
    """
    fitting = [plate for plate in plates if plate.size == size]
    return next((plate for plate in fitting if plate.full_size == whole), fitting[0] if fitting else None)


def by_sample(values: Tensor, plates: Sequence[Plate], samples: Plate | None, whole: int) -> Tensor:
    """Return the values of the samples; where they are of the batch or the set as a whole, a sample's part of them.

    A sum over the subsample of another plate is scaled up to the whole of it, as in the loss.

    Args:
        values: Distortions or rates of a batch, over plates; a scalar if it is in none.
        plates: The plate of each dimension, and behind those others around it, see :class:`ib_pyro.elbo.Terms`.
        samples: The plate of the samples, if there is one.
        whole: Samples that share a value outside of that plate.

    Returns:
        One value a sample, ``[size]``, or the same part for each, a scalar.

    >>> import torch
    >>> data, pixels = Plate("data", 3, 60), Plate("pixels", 2, 4)
    >>> by_sample(torch.ones(2, 3), (pixels, data), data, 60)
    tensor([4., 4., 4.])
    >>> by_sample(torch.tensor(6.0), (), data, 60)
    tensor(0.1000)
    """
    place = next((index for index, plate in enumerate(plates) if _are_alike(plate, samples)), None)
    scale = math.prod(plate.scale for index, plate in enumerate(plates) if index != place)
    if place is None or place >= values.dim():
        return values.sum() * scale / whole
    others = [dim for dim in range(values.dim()) if dim != place]
    values = values.sum(others) if others else values
    return values if scale == 1 else values * scale


def _are_alike(plate: Plate, samples: Plate | None) -> bool:
    """Whether a plate is that of the samples, if by another name: no other takes so many of so many."""
    if samples is None or plate.name == samples.name:
        return samples is not None
    return samples.size < samples.full_size and plate[1:] == samples[1:]
