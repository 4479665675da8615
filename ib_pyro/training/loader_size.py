"""How many samples a ``DataLoader`` draws from."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import torch
import torch.distributed
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    WeightedRandomSampler,
)

__all__ = ["size_of_loader"]


def size_of_loader(loader: DataLoader[Any]) -> int | None:
    """Return the number N of samples that the batches of a loader are drawn from, each counted once.

    It is not that of an epoch: a sample that is drawn twice is no further evidence, and what one epoch leaves out may
    come in the next. PyTorch's samplers say what they draw from; of another one it is its length, but at most that of
    the set. The shares of a ``DistributedSampler`` are one set where there are as many processes as shares.

    Args:
        loader: The loader.

    Returns:
        The number; None where the loader's batches are made by a ``batch_sampler`` of the user's own or by the set
        itself, or where no length is known.

    >>> from torch.utils.data import SubsetRandomSampler, WeightedRandomSampler
    >>> size_of_loader(DataLoader(range(60), 5, sampler=SubsetRandomSampler(range(10))))
    10
    >>> size_of_loader(
    ...     DataLoader(range(60), 5, sampler=WeightedRandomSampler([1.0] * 60, 600))
    ... )
    60
    """
    batches = loader.batch_sampler
    if type(batches) is not BatchSampler:
        return None
    length = len(loader.dataset) if isinstance(loader.dataset, Sized) else None
    if isinstance(loader.dataset, IterableDataset):
        return length
    sampler = batches.sampler
    if isinstance(sampler, SequentialSampler) and batches.drop_last:
        # The same samples are left out in each epoch.
        return len(batches) * batches.batch_size
    if isinstance(sampler, WeightedRandomSampler):
        return int((torch.as_tensor(sampler.weights) > 0).sum())
    if isinstance(sampler, RandomSampler | SequentialSampler):
        return len(sampler.data_source)
    if isinstance(sampler, DistributedSampler) and _processes() == sampler.num_replicas:
        # Each process has a share, and the gradient is of all of them.
        return min(len(sampler.dataset), sampler.total_size)  # type: ignore[arg-type]
    drawn = len(sampler) if isinstance(sampler, Sized) else None
    return min((size for size in (drawn, length) if size is not None), default=None)


def _processes() -> int:
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
