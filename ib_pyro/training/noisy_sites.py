"""What the noisy layers of a fitted program show of a set of images, and the prior that they are charged by."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from ib_pyro.bottleneck import Bottleneck
from ib_pyro.data import batches
from ib_pyro.nn import StochasticLayer
from ib_pyro.training.data_placement import placed
from ib_pyro.training.randomness import seeded

__all__ = ["read_sites", "sample_sites", "scalar_prior"]


@torch.no_grad()
def read_sites(
    program: Bottleneck,
    x: Tensor,
    read: Callable[[Tensor], dict[str, Tensor]],
    *,
    seed: int = 0,
    batch_size: int = 250,
) -> dict[str, Tensor]:
    """Read something off every noisy site for each image, batch by batch, so that only what is read is held.

    Args:
        program: In evaluation mode.
        x: Images, ``[N, C, H, W]``; each batch is moved to the program's device and type.
        read: From a batch of images to a tensor a site, ``[batch, ...]``.
        seed: Seed of the noise.
        batch_size: Images at a time.

    Returns:
        What was read of each site, ``[N, ...]``, on the device of x.
    """
    found: dict[str, list[Tensor]] = {}
    with seeded(seed):
        for (part,) in batches([x], batch_size, shuffle=False):
            for name, value in read(placed(part, program)).items():
                found.setdefault(name, []).append(value.to(x.device))
    return {name: torch.cat(parts) for name, parts in found.items()}


def sample_sites(
    program: Bottleneck, x: Tensor, *, seed: int = 0, batch_size: int = 250
) -> dict[str, Tensor]:
    """Draw every noisy site once for each image.

    Args:
        program: In evaluation mode.
        x: Images, ``[N, C, H, W]``; each batch is moved to the program's device and type.
        seed: Seed of the noise.
        batch_size: Images at a time.

    Returns:
        z of each site, ``[N, ...]``, on the device of x.
    """
    return read_sites(program, x, program.latents, seed=seed, batch_size=batch_size)


def scalar_prior(layer: StochasticLayer) -> TorchDistributionMixin:
    """The prior of one unit of a layer whose units share it, without dimensions, on the layer's device."""
    return layer.prior_distribution(torch.Size())
