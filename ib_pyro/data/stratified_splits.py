"""Which images belong to which split, held out from train and never from test."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["SPLITS", "hold_out", "stratified_order", "stratified_sample"]

SPLITS = ("train", "validation", "train+validation", "test")


def stratified_order(y: Tensor, seed: int) -> Tensor:
    """Order images at random so that every prefix has the classes in the shares of the whole.

    The k-th image of a class of ``N_c`` images, in random order, is put at ``(k + 1/2) / N_c``; ties are broken
    at random. A prefix of n images then has ``n N_c / N`` of each class, to within one for classes of like
    size, and a smaller prefix is part of a larger one.

    Args:
        y: Labels, int64, shape ``[N]``.
        seed: Fixes the order.

    Returns:
        A permutation of ``0, ..., N - 1``, int64, shape ``[N]``, on the CPU.
    """
    y = y.cpu()
    shuffled = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    position = torch.empty(len(y), dtype=torch.float64)
    for label in torch.unique(y):
        members = torch.nonzero(y[shuffled] == label).squeeze(1)
        position[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
    return shuffled[torch.argsort(position, stable=True)]


def stratified_sample(y: Tensor, size: int, seed: int) -> Tensor:
    """Draw ``size`` images with the classes in the shares of the whole (see ``stratified_order``).

    Args:
        y: Labels, int64, shape ``[N]``.
        size: How many images, 0 to N.
        seed: Fixes the draw.

    Returns:
        Ascending positions, int64, shape ``[size]``.
    """
    return torch.sort(stratified_order(y, seed)[:size]).values


def hold_out(y: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Part a training pool into what is fitted and what selects the model.

    The parting depends on the labels and the size alone, not on the seed of an experiment, so that all
    experiments on a set hold out the same images.

    Args:
        y: Labels of the pool, int64, shape ``[N]``.
        size: How many images to hold out, 0 to N - 1.

    Returns:
        Ascending positions of the training and of the validation images, int64.

    Raises:
        ValueError: If the size is outside of 0 to N - 1.
    """
    if not 0 <= size < len(y):
        raise ValueError(
            f"holdout: {size} of a training pool of {len(y)} images; give a number from 0 to {len(y) - 1}"
        )
    held = stratified_sample(y, size, seed=0)
    rest = torch.ones(len(y), dtype=torch.bool)
    rest[held] = False
    return torch.nonzero(rest).squeeze(1), held
