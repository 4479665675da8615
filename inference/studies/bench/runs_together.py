"""Runs that are trained together, beside the same runs one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.side_by_side import (
    OptimizerSettings,
    Run,
    SideBySideTraining,
    VectorizationError,
    build_programs,
)
from inference.studies.bench.device import Device
from inference.studies.bench.loops import LEARNING_RATES, fit_block
from inference.studies.bench.not_measured import NotMeasured
from inference.studies.bench.synthetic import labelled_images
from inference.studies.bench.taking_turns import Block, Comparison, take_turns
from models.mlp import MLP

__all__ = ["COMPILED", "ONE_BY_ONE", "TOGETHER", "betas_of", "side_by_side", "side_by_side_block"]

BATCH, HIDDEN = 100, 64
TOGETHER = ("side by side", "side by side, a seed each")
COMPILED = "side by side, compiled"
ONE_BY_ONE = {"one by one, captured": "on", "one by one, uncaptured": "off"}


def side_by_side(runs: int, device: Device, *, steps: int, blocks: int, compile: bool = False) -> Comparison:
    """Time an epoch of so many betas of the MLP together, and of each on its own, captured and not.

    Together they are timed with one seed, whose order of the samples is one for all, and with a seed each.

    Args:
        runs: Number of betas.
        device: Where to compute.
        steps: Steps in an epoch.
        blocks: Blocks of each way.
        compile: Whether to time them compiled too, with one seed; compiling is not part of the time.

    Raises:
        NotMeasured: If that is to be, and there is no compiler.
    """
    x, y = labelled_images(steps * BATCH, (1, 28, 28), device.name)
    betas = betas_of(runs)
    seeds = ([0] * runs, range(runs))
    ways: dict[str, Block] = {
        way: side_by_side_block(betas, x, y, BATCH, seeds=own)
        for way, own in zip(TOGETHER, seeds, strict=True)
    }
    if compile:
        ways[COMPILED] = side_by_side_block(betas, x, y, BATCH, compile=True)
        try:
            ways[COMPILED]()
        except VectorizationError as error:
            raise NotMeasured(str(error)) from error
    torch.manual_seed(0)
    ways |= {way: partial(_each, _singles(betas, x, y, capture)) for way, capture in ONE_BY_ONE.items()}
    times = take_turns(ways, blocks=blocks, parts=steps, wait=device.wait)
    return Comparison(f"{runs} betas, H = {HIDDEN}", "step", device.threads, device.clock, times)


def side_by_side_block(
    betas: Sequence[float],
    x: Tensor,
    y: Tensor,
    batch_size: int,
    *,
    seeds: Sequence[int] | None = None,
    compile: bool = False,
) -> Block:
    """Return an epoch in which a run of the MLP for each beta is trained, all of them together, from a recording.

    Args:
        betas: Weights of the rate.
        x: Inputs, ``[N, ...]``, on the device of the runs.
        y: Labels, ``[N]``.
        batch_size: Samples of a run in a step.
        seeds: Each run's seed; by default 0.
        compile: Whether to compile the recording, which is made in the first epoch.
    """
    runs = [Run(beta=beta, seed=seed) for beta, seed in zip(betas, seeds or [0] * len(betas), strict=True)]
    programs, streams = build_programs(lambda: MLP(hidden=HIDDEN), runs, device=x.device)
    training = SideBySideTraining(
        programs,
        [InformationBottleneckELBO(run.beta) for run in runs],
        (x, y),
        names=[run.name for run in runs],
        streams=streams,
        orders=[torch.Generator().manual_seed(run.seed) for run in runs],
        optimizer=[OptimizerSettings(lr=LEARNING_RATES["sgd"])] * len(runs),
        batch_size=batch_size,
        replay="on",
        compile=compile,
    )
    return partial(training.epoch, 0)


def betas_of(runs: int) -> list[float]:
    """Return betas from 1e-4 on, evenly spaced up to 1e-2 by their logarithm."""
    return torch.logspace(-4, -2, runs).tolist()


def _singles(betas: Sequence[float], x: Tensor, y: Tensor, capture: str) -> list[Block]:
    return [
        fit_block(
            MLP(hidden=HIDDEN).to(x.device),
            x,
            y,
            BATCH,
            capture=capture,
            elbo=InformationBottleneckELBO(beta=beta),
        )
        for beta in betas
    ]


def _each(blocks: Sequence[Block]) -> None:
    for block in blocks:
        block()
