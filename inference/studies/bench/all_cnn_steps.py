"""What a training step of All-CNN-32 costs beside the same network by hand."""

from __future__ import annotations

import torch

from inference.studies.bench.all_cnn_by_hand import AllCNNByHand
from inference.studies.bench.device import Device
from inference.studies.bench.loops import fit_block, hand_block
from inference.studies.bench.synthetic import labelled_images
from inference.studies.bench.taking_turns import Comparison, take_turns
from models.all_cnn import AllCNN32

__all__ = ["all_cnn_steps"]

BATCH = 100


def all_cnn_steps(fraction: float, device: Device, *, steps: int, blocks: int) -> Comparison:
    """Time steps of All-CNN-32 with information dropout; see :func:`mlp_steps`.

    Args:
        fraction: Share of its filters.
        device: Where to compute.
        steps: Steps in a block.
        blocks: Blocks of each way.
    """
    x, y = labelled_images(steps * BATCH, (3, 32, 32), device.name)
    torch.manual_seed(0)
    ways = {
        "captured": fit_block(AllCNN32(fraction).to(device.name), x, y, BATCH, capture="on"),
        "uncaptured": fit_block(AllCNN32(fraction).to(device.name), x, y, BATCH, capture="off"),
        "by hand": hand_block(AllCNNByHand(fraction).to(device.name), x, y, BATCH),
        "by hand, no atom": hand_block(AllCNNByHand(fraction, atom=False).to(device.name), x, y, BATCH),
    }
    times = take_turns(ways, blocks=blocks, parts=steps, wait=device.wait)
    return Comparison(f"All-CNN-32, {fraction:.0%}", "step", device.threads, device.clock, times)
