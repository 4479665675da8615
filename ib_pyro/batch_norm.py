"""Batch-norm statistics for a network whose noise is switched off."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from ib_pyro.handlers import noise_off

__all__ = ["batches_seen", "has_batch_norm", "noise_off_copy", "noise_off_statistics", "number_of_batches"]

Part = TypeVar("Part")
Program = TypeVar("Program", bound=nn.Module)


def has_batch_norm(program: nn.Module) -> bool:
    """Return whether any module of the program is a batch norm that keeps running statistics."""
    return bool(_batch_norms(program))


def batches_seen(program: nn.Module) -> tuple[int, ...]:
    """Return how many batches each batch norm has its running statistics from, in the order of the modules."""
    counts = [module.num_batches_tracked for module in _batch_norms(program)]
    return tuple(0 if count is None else int(count) for count in counts)


@torch.no_grad()
def noise_off_copy(program: Program, x: Tensor, *, batch_size: int) -> Program:
    """Copy a program and re-estimate the copy's batch-norm statistics with the noise off.

    Running statistics that were learned under noise are wrong without it. The new ones are means over batches of
    (nearly) equal size, so that no batch weighs more than another and none has a single sample.

    Args:
        program: A fitted ``Bottleneck``; it is left as it is.
        x: Training inputs, ``[N, ...]``, on the program's device.
        batch_size: Upper bound on the samples at a time.

    Returns:
        The copy in evaluation mode, or the program itself if it has no batch norm.
    """
    if not has_batch_norm(program):
        return program
    clone = copy.deepcopy(program)
    with noise_off():
        update_bn(x.tensor_split(number_of_batches(len(x), batch_size)), clone)
    if hasattr(clone, "batches_seen_without_noise"):
        clone.batches_seen_without_noise = batches_seen(clone)  # type: ignore[assignment]
    return clone.eval()


@contextmanager
def noise_off_statistics(
    program: nn.Module, evaluate: Callable[[Part], object], batches: Iterable[Part]
) -> Iterator[None]:
    """Give a program, for a while, batch-norm statistics re-estimated with the noise off.

    Args:
        program: The program; its mode is kept, and its statistics are put back.
        evaluate: Runs the program on a batch.
        batches: Training data.
    """
    norms = _batch_norms(program)
    before = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    momenta, training = [norm.momentum for norm in norms], program.training
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
        program.train()
        with noise_off(), torch.no_grad():
            for batch in batches:
                evaluate(batch)
        program.train(training)
        yield
    finally:
        program.train(training)
        for norm, momentum, buffers in zip(norms, momenta, before, strict=True):
            norm.momentum = momentum
            for name, value in buffers.items():
                getattr(norm, name).copy_(value)


def number_of_batches(size: int, batch_size: int) -> int:
    """Return in how many batches of (nearly) equal size a set is gone through, none of them with a single sample."""
    return min(math.ceil(size / batch_size), max(1, size // 2))


def _batch_norms(program: nn.Module) -> list[_BatchNorm]:
    return [m for m in program.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
