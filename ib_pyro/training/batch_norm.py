"""Batch-norm statistics for a network whose noise is switched off."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from ib_pyro.handlers import noise_off

__all__ = ["has_batch_norm", "noise_off_copy"]

Program = TypeVar("Program", bound=nn.Module)


def has_batch_norm(program: nn.Module) -> bool:
    """Return whether any module of the program is a batch norm that keeps running statistics."""
    return any(isinstance(module, _BatchNorm) and module.track_running_stats for module in program.modules())


@torch.no_grad()
def noise_off_copy(program: Program, x: Tensor, *, batch_size: int) -> Program:
    """Copy a program and re-estimate the copy's batch-norm statistics with the noise off.

    Running statistics that were learned under noise are wrong without it. The new ones are means over batches of
    (nearly) equal size, so that no batch weighs more than another and none has a single image.

    Args:
        program: A fitted ``Bottleneck``; it is left as it is.
        x: Training images, ``[N, ...]``, on the program's device.
        batch_size: Upper bound on the images at a time.

    Returns:
        The copy in evaluation mode, or the program itself if it has no batch norm.
    """
    if not has_batch_norm(program):
        return program
    clone = copy.deepcopy(program)
    num_batches = min(math.ceil(len(x) / batch_size), max(1, len(x) // 2))
    with noise_off():
        update_bn(x.tensor_split(num_batches), clone)
    return clone.eval()
