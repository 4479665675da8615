"""Runs that are trained together, beside the same runs one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor

from ib_pyro.elbo import InformationBottleneckELBO
from inference.studies.bench.device import Device
from inference.studies.bench.loops import fit_block
from inference.studies.bench.not_measured import NotMeasured
from inference.studies.bench.synthetic import labelled_images
from inference.studies.bench.taking_turns import Block, Comparison, take_turns
from models.mlp import MLP

__all__ = ["betas_of", "side_by_side", "side_by_side_block"]

BATCH, HIDDEN = 100, 64
TRAINER = "side_by_side_epoch"


def side_by_side(runs: int, device: Device, *, steps: int, blocks: int) -> Comparison:
    """Time an epoch of so many betas of the MLP together, and of each on its own.

    Args:
        runs: Number of betas.
        device: Where to compute.
        steps: Steps in an epoch.
        blocks: Blocks of each way.

    Raises:
        NotMeasured: If an epoch of such runs cannot be timed apart.
    """
    x, y = labelled_images(steps * BATCH, (1, 28, 28), device.name)
    together = side_by_side_block(betas_of(runs), x, y, BATCH)
    torch.manual_seed(0)
    singles = [
        fit_block(
            MLP(hidden=HIDDEN).to(device.name),
            x,
            y,
            BATCH,
            capture="on",
            elbo=InformationBottleneckELBO(beta=beta),
        )
        for beta in betas_of(runs)
    ]
    ways: dict[str, Block] = {
        "side by side": together,
        "one by one": lambda: [single() for single in singles],
    }
    times = take_turns(ways, blocks=blocks, parts=steps, wait=device.wait)
    return Comparison(f"{runs} betas, H = {HIDDEN}", "step", device.threads, device.clock, times)


def side_by_side_block(betas: Sequence[float], x: Tensor, y: Tensor, batch_size: int) -> Block:
    """Return an epoch in which a run of the MLP for each beta is trained, all of them together.

    Raises:
        NotMeasured: If :mod:`ib_pyro.side_by_side` has no epoch that can be timed apart.
    """
    # By name: a checkout may not have it.
    training = import_module("ib_pyro.side_by_side") if find_spec("ib_pyro.side_by_side") else None
    trainer: Callable[..., Block] | None = getattr(training, TRAINER, None)
    if trainer is None:
        raise NotMeasured(
            f"ib_pyro.side_by_side.{TRAINER} is not there, and an epoch of train_side_by_side cannot be timed apart"
        )
    return trainer(lambda: MLP(hidden=HIDDEN), x, y, betas=tuple(betas), batch_size=batch_size)


def betas_of(runs: int) -> list[float]:
    """Return betas from 1e-4 on, evenly spaced up to 1e-2 by their logarithm."""
    return torch.logspace(-4, -2, runs).tolist()
