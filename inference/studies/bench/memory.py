"""The most memory that tensors hold at a time."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from ib_pyro import Bottleneck
from inference.studies.bench.all_cnn_by_hand import AllCNNByHand
from inference.studies.bench.device import Device
from inference.studies.bench.loops import ByHand, fit_block, hand_block
from inference.studies.bench.mlp_by_hand import MLPByHand
from inference.studies.bench.synthetic import binary_images, labelled_images
from inference.studies.bench.taking_turns import Block
from inference.studies.bench.vae_by_hand import VAEByHand
from inference.studies.bench.vae_epochs import BATCH as VAE_BATCH
from inference.studies.bench.vae_epochs import vae_block
from models.all_cnn import AllCNN32
from models.mlp import MLP

__all__ = ["PeakMemory", "all_cnn_memory", "mlp_memory", "peak_bytes", "vae_memory"]

STEPS = 3
MEASURED = "the measured run"


@dataclass(frozen=True)
class PeakMemory:
    """Peak memory of a step in several ways.

    Args:
        name: What is computed.
        bytes: Most bytes that tensors hold at a time, over those that are there between steps, by way.
    """

    name: str
    bytes: Mapping[str, int]

    def ratio(self, way: str, to: str) -> float:
        """Return the ratio of two ways."""
        return self.bytes[way] / self.bytes[to]


def mlp_memory(hidden: int, batch_size: int, device: Device) -> PeakMemory:
    """Measure the MLP with information dropout, where activations need more room than parameters."""
    x, y = labelled_images(STEPS * batch_size, (1, 28, 28), device.name)
    program, network = MLP(hidden=hidden).to(device.name), MLPByHand(hidden).to(device.name)
    name = f"MLP, H = {hidden}, batch {batch_size}"
    return PeakMemory(name, _peaks(program, network, x, y, batch_size, device))


def all_cnn_memory(fraction: float, batch_size: int, device: Device) -> PeakMemory:
    """Measure All-CNN-32 with information dropout."""
    x, y = labelled_images(STEPS * batch_size, (3, 32, 32), device.name)
    program, network = AllCNN32(fraction).to(device.name), AllCNNByHand(fraction).to(device.name)
    name = f"All-CNN-32, {fraction:.0%}, batch {batch_size}"
    return PeakMemory(name, _peaks(program, network, x, y, batch_size, device))


def vae_memory(device: Device) -> PeakMemory:
    """Measure the MNIST autoencoder."""
    x = binary_images(STEPS * VAE_BATCH, device.name)
    network = VAEByHand().to(device.name)
    ways = {
        "captured": vae_block(x, capture="on"),
        "uncaptured": vae_block(x, capture="off"),
        "by hand": hand_block(network, x, x, VAE_BATCH, beta=1.0, optimizer="adam"),
    }
    return PeakMemory(f"MNIST VAE, batch {VAE_BATCH}", _peaks_of(ways, device))


def _peaks(
    program: Bottleneck, network: ByHand, x: Tensor, y: Tensor, batch_size: int, device: Device
) -> dict[str, int]:
    ways = {
        "captured": fit_block(program, x, y, batch_size, capture="on"),
        "uncaptured": fit_block(program, x, y, batch_size, capture="off"),
        "by hand": hand_block(network, x, y, batch_size),
    }
    return _peaks_of(ways, device)


def _peaks_of(ways: Mapping[str, Block], device: Device) -> dict[str, int]:
    found = {}
    for name, block in ways.items():
        block()
        found[name] = peak_bytes(block, device)
    return found


def peak_bytes(block: Block, device: Device) -> int:
    """Run a block twice, and return the most bytes that its tensors hold at a time, over what was held between.

    PyTorch's allocator is asked, on a CPU by way of the profiler. What libraries allocate for themselves within an
    operation is not in it.

    Args:
        block: What is run; it leaves behind as much as it has found.
        device: Where it runs.
    """
    gc.collect()
    if device.name == "cuda":
        block()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        block()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with _silent_errors(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        # The profiler knows the size of what it has seen allocated. Older memory has for it the size of what an
        # earlier profile saw at the same address: what the measured run frees must be made under this one.
        block()
        with record_function(MEASURED):
            block()
    return _highest(list(recorded.profiler.kineto_results.events()))


class _Event(Protocol):
    def name(self) -> str: ...

    def start_ns(self) -> int: ...

    def nbytes(self) -> int: ...


def _highest(events: Sequence[_Event]) -> int:
    """Return the most that is allocated at a time once the measured run has begun."""
    start = next(event.start_ns() for event in events if event.name() == MEASURED)
    allocations = [event for event in events if event.name() == "[memory]" and event.start_ns() >= start]
    held = highest = 0
    for event in sorted(allocations, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest


@contextmanager
def _silent_errors() -> Iterator[None]:
    """Keep what the profiler's library says of itself off the terminal, which no setting of Python's does."""
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
