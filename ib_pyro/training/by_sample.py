"""What a batch's values say of its samples, one by one."""

from __future__ import annotations

from torch import Tensor

__all__ = ["by_sample"]


def by_sample(values: Tensor, size: int, whole: int) -> Tensor:
    """Return the values of the samples; where they are of the batch or the set as a whole, a sample's part of them.

    Args:
        values: Distortions or rates of a batch, over its plates; a scalar if it is in none.
        size: Samples in the batch.
        whole: Samples that share a value outside of their plate: those of the set that the batch is a subsample of, or
            of the batch itself.

    Returns:
        One value a sample, ``[size]``, or the same part for each, a scalar.

    >>> import torch
    >>> by_sample(torch.ones(2, 3), 3, 60), by_sample(torch.tensor(6.0), 3, 60)
    (tensor([2., 2., 2.]), tensor(0.1000))
    """
    if values.dim() == 1 and len(values) == size:
        return values
    if size in values.shape:
        others = [dim for dim in range(values.dim()) if dim != values.shape.index(size)]
        return values.sum(others)
    return values.sum() / whole
