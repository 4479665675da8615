"""Sets of images by name, in memory, parted into train, validation and test."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ib_pyro.choices import require_known
from ib_pyro.data.cifar import cifar10_pool
from ib_pyro.data.cluttered import cluttered_mnist_pool
from ib_pyro.data.digits import digits_pool
from ib_pyro.data.idx import fashion_mnist_pool, mnist_pool
from ib_pyro.data.image_pool import Pool
from ib_pyro.data.labelled_images import LabelledImages
from ib_pyro.data.occluded import occluded_cifar_pool
from ib_pyro.data.request import Request, cache_folder, data_root
from ib_pyro.data.stratified_splits import SPLITS, hold_out, stratified_sample

__all__ = ["DATASETS", "load"]


@dataclass(frozen=True)
class _Dataset:
    """How a set is read, and how many images of its training pool are held out unless said otherwise."""

    read: Callable[[Request], Pool]
    holdout: int


_DATASETS = {
    "digits": _Dataset(digits_pool, holdout=237),
    "mnist": _Dataset(mnist_pool, holdout=10_000),
    "fashion-mnist": _Dataset(fashion_mnist_pool, holdout=10_000),
    "cifar10": _Dataset(cifar10_pool, holdout=5_000),
    "cluttered-mnist": _Dataset(cluttered_mnist_pool, holdout=10_000),
    "occluded-cifar": _Dataset(occluded_cifar_pool, holdout=5_000),
}

DATASETS = tuple(_DATASETS)


def load(
    name: str,
    split: str,
    *,
    root: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    holdout: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> LabelledImages:
    """Load a split of a set of images into memory.

    The images that select a model are held out from those that train it, never taken from the test set:

    ==============================  =======  ============  ======  =======
    name                            "train"  "validation"  "test"  image
    ==============================  =======  ============  ======  =======
    digits                          1,200    237           360     1x8x8
    mnist, fashion-mnist            50,000   10,000        10,000  1x28x28
    cifar10                         45,000   5,000         10,000  3x32x32
    cluttered-mnist (box)           50,000   10,000        10,000  1x96x96
    occluded-cifar (nuisance, box)  45,000   5,000         10,000  3x32x32
    ==============================  =======  ============  ======  =======

    ``"train+validation"`` is both, in one; ``holdout=0`` makes ``"train"`` the same (all 60,000 of MNIST). Which
    images are held out depends on the set and on ``holdout`` alone.

    Args:
        name: One of :data:`DATASETS`.
        split: "train", "validation", "train+validation" or "test".
        root: Folder with the downloaded sets, by default the environment variable IB_PYRO_DATA; "digits"
            needs none. It is only read, but for downloads.
        limit: Take so many images of the split, at random, with the classes in their shares; a smaller limit
            takes a part of what a larger one takes.
        seed: Fixes the generated sets, and what ``limit`` takes. A generated image is the same whatever the
            limit.
        holdout: How many images of the training pool are for validation, by default as in the table.
        cache: Folder for what is generated or decoded, by default the environment variable IB_PYRO_CACHE,
            else ``ib_pyro`` in the user's cache folder.
        download: Whether to fetch a missing set into ``root`` with torchvision.

    Returns:
        The images as float32 in [0, 1] with their labels, on the CPU.

    Raises:
        ValueError: If the name or the split is unknown, the set cannot give the limit or the holdout, there is no
            root, or a file is damaged.
        FileNotFoundError: If the root is without the data; the message says which files to put where.

    Example:
        >>> train = load("digits", "train")
        >>> train
        LabelledImages(1200 images of shape (1, 8, 8), 10 classes, cpu)
        >>> (
        ...     len(load("digits", "train", holdout=0)),
        ...     len(load("digits", "validation", limit=100)),
        ... )
        (1437, 100)
    """
    dataset = _DATASETS[require_known("name:", name, DATASETS)]
    require_known("split:", split, SPLITS)
    request = Request(
        name,
        "test" if split == "test" else "train",
        root=data_root(root),
        cache=cache_folder(cache),
        download=download,
        seed=seed,
        whole=limit is None,
    )
    pool = dataset.read(request)
    index = _split(pool.y, split, dataset.holdout if holdout is None else holdout)
    if len(index) == 0:
        raise ValueError(f"holdout: 0 leaves no {split} images of {name!r}; give at least 1")
    return pool.take(index if limit is None else _limit(pool.y, index, limit, split, seed))


def _split(y: Tensor, split: str, holdout: int) -> Tensor:
    if split == "test":
        return torch.arange(len(y))
    train, validation = hold_out(y, holdout)
    return {"train": train, "validation": validation, "train+validation": torch.arange(len(y))}[split]


def _limit(y: Tensor, index: Tensor, limit: int, split: str, seed: int) -> Tensor:
    if not 1 <= limit <= len(index):
        raise ValueError(
            f"limit: {limit} of the {len(index)} {split} images; give 1 to {len(index)}, or None for all"
        )
    return index[stratified_sample(y[index], limit, seed)]
