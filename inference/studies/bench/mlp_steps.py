"""What a training step of the MLP costs, in five ways."""

from __future__ import annotations

import pyro
import torch

from ib_pyro import Bottleneck
from inference.studies.bench.device import Device
from inference.studies.bench.loops import fit_block, hand_block, pyro_block
from inference.studies.bench.mlp_by_hand import MLPByHand
from inference.studies.bench.synthetic import labelled_images
from inference.studies.bench.taking_turns import Comparison, take_turns
from models.mlp import MLP

__all__ = ["mlp_steps"]

BATCH = 100


def mlp_steps(hidden: int, device: Device, *, steps: int, blocks: int) -> Comparison:
    """Time steps of the MLP with information dropout: captured, as they are, by hand, and with Pyro's inference.

    Args:
        hidden: Width of the hidden layers.
        device: Where to compute.
        steps: Steps in a block.
        blocks: Blocks of each way.
    """
    x, y = labelled_images(steps * BATCH, (1, 28, 28), device.name)

    def program() -> Bottleneck:
        return MLP(hidden=hidden).to(device.name)

    def network(*, atom: bool) -> MLPByHand:
        return MLPByHand(hidden, atom=atom).to(device.name)

    torch.manual_seed(0)
    with pyro.get_param_store().scope():
        ways = {
            "captured": fit_block(program(), x, y, BATCH, capture="on"),
            "uncaptured": fit_block(program(), x, y, BATCH, capture="off"),
            "by hand": hand_block(network(atom=True), x, y, BATCH),
            "by hand, no atom": hand_block(network(atom=False), x, y, BATCH),
            "Pyro's SVI": pyro_block(program(), x, y, BATCH),
        }
        times = take_turns(ways, blocks=blocks, parts=steps, wait=device.wait)
    return Comparison(f"MLP, H = {hidden}", "step", device.threads, device.clock, times)
