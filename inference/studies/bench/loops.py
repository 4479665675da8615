"""Epochs to be timed: of ``fit``, of a loop written by hand, and of Pyro's own inference."""

from __future__ import annotations

from functools import partial

import pyro
import torch
from lightning.fabric import Fabric
from pyro.infer import SVI, TraceMeanField_ELBO
from torch import Tensor
from torch.optim import Optimizer

from ib_pyro import Bottleneck
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.training.loop import TrainingLoop
from ib_pyro.training.optimizers import build_optimizer
from ib_pyro.training.sources import source_of
from inference.studies.bench.all_cnn_by_hand import AllCNNByHand
from inference.studies.bench.mlp_by_hand import MLPByHand
from inference.studies.bench.taking_turns import Block
from inference.studies.bench.vae_by_hand import VAEByHand

__all__ = ["ByHand", "epoch_by_hand", "fit_block", "hand_block", "pyro_block"]

LEARNING_RATES = {"sgd": 0.01, "adam": 1e-3}


ByHand = AllCNNByHand | MLPByHand | VAEByHand


def fit_block(
    program: Bottleneck,
    x: Tensor,
    y: Tensor,
    batch_size: int,
    *,
    capture: str,
    elbo: InformationBottleneckELBO | None = None,
    optimizer: str = "sgd",
) -> Block:
    """Return an epoch of ``fit``.

    Args:
        program: The program, on the device of the data.
        x: Inputs, ``[N, ...]``.
        y: What is observed, ``[N, ...]``.
        batch_size: Samples in a step.
        capture: ``"on"`` or ``"off"``.
        elbo: The objective; by default with a beta of 1 / N.
        optimizer: ``"sgd"`` or ``"adam"``.
    """
    loop = TrainingLoop(
        program,
        source_of((x, y), batch_size=batch_size, order=_order, device=x.device),
        elbo=elbo or InformationBottleneckELBO(beta=1 / len(x)),
        optimizer=build_optimizer(optimizer, program.parameters(), lr=LEARNING_RATES[optimizer]),
        fabric=Fabric(accelerator="gpu" if x.is_cuda else "cpu", devices=1),
        capture=capture,
    )
    return partial(loop.epoch, 0)


def _order() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def hand_block(
    network: ByHand,
    x: Tensor,
    y: Tensor,
    batch_size: int,
    *,
    beta: float | None = None,
    optimizer: str = "sgd",
) -> Block:
    """Return an epoch of a loop written by hand, with the same fused optimiser; see :func:`fit_block`."""
    build = torch.optim.Adam if optimizer == "adam" else partial(torch.optim.SGD, momentum=0.9)
    steps = build(network.parameters(), lr=LEARNING_RATES[optimizer], fused=True)
    weight = 1 / len(x) if beta is None else beta
    return partial(epoch_by_hand, network, steps, x, y, batch_size=batch_size, beta=weight)


def epoch_by_hand(
    network: ByHand, optimizer: Optimizer, x: Tensor, y: Tensor, *, batch_size: int, beta: float
) -> Tensor:
    """Take a step on every batch; return the sum of the losses, still on the device."""
    network.train()
    total = torch.zeros((), device=x.device)
    for index in torch.randperm(len(x), device=x.device).split(batch_size):
        optimizer.zero_grad()
        loss = network.loss(*_batch(x, y, index), beta)
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return total


def _batch(x: Tensor, y: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    # Bound to no name in the loop, a batch is gone before the next one is there.
    chosen = x[index]
    return chosen, chosen if y is x else y[index]


def pyro_block(program: Bottleneck, x: Tensor, y: Tensor, batch_size: int) -> Block:
    """Return an epoch of Pyro's own inference on a program, over tensors in memory and with Pyro's defaults.

    Its rate has the weight 1: Pyro's ELBO has no other.

    Args:
        program: The program.
        x: Inputs, ``[N, ...]``.
        y: What is observed, ``[N, ...]``.
        batch_size: Samples in a step.
    """
    optimizer = pyro.optim.SGD({"lr": 1e-6, "momentum": 0.9})
    inference = SVI(program.model, program.guide, optimizer, loss=TraceMeanField_ELBO())

    def epoch() -> float:
        program.train()
        order = torch.randperm(len(x), device=x.device).split(batch_size)
        return sum(inference.step(x[index], y[index]) for index in order)

    return epoch
