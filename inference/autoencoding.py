"""Programs of y = x: what their fit sees of a batch, and the bounds that they are judged by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ib_pyro.bounds import importance_log_weights
from ib_pyro.data import LabelledImages, batches
from ib_pyro.information import effective_sample_size, importance_weighted_bound
from inference.randomness import seeded
from models.vae import binarise

__all__ = ["Bounds", "Reconstruction", "binarised", "bounds", "redraw_binary"]


@dataclass(frozen=True)
class Reconstruction:
    """A set whose target is its input.

    Args:
        x: Binary images, ``[N, C, H, W]``.
    """

    x: Tensor

    @property
    def y(self) -> Tensor:
        """What is observed: the images themselves."""
        return self.x


@dataclass(frozen=True)
class Bounds:
    """Lower bounds on the log-likelihood, means over a set, in nats per image.

    Args:
        elbo: The bound with one draw, log p(x, z) - log p(z|x), averaged over all of the draws.
        importance_weighted: The importance-weighted bound (Burda et al. 2016, eq. 8).
        num_importance_samples: Its number of draws.
        effective_sample_size: Mean over the images of that of the draws: how many of them count.
        standard_error: Standard error of the importance-weighted mean over the images.
        num_images: Number of images.
    """

    elbo: float
    importance_weighted: float
    num_importance_samples: int
    effective_sample_size: float
    standard_error: float
    num_images: int

    @property
    def gap(self) -> float:
        """How far the importance-weighted bound lies above the ELBO: at most the mean KL(p(z|x) || true posterior)."""
        return self.importance_weighted - self.elbo


def redraw_binary(x: Tensor, _y: Tensor) -> tuple[Tensor, Tensor]:
    """Binarise a batch anew, and let it be its own target: a step's transform."""
    binary = binarise(x)
    return binary, binary


def binarised(images: LabelledImages, *, seed: int) -> Reconstruction:
    """Binarise a set once, as a pure function of the seed, so that its bound is one number."""
    return Reconstruction(binarise(images.x, torch.Generator().manual_seed(seed)))


@torch.no_grad()
def bounds(
    program: nn.Module, data: Reconstruction, *, num_samples: int = 64, batch_size: int = 500, seed: int = 0
) -> Bounds:
    """Estimate both bounds of a program on a set, from the same draws.

    Args:
        program: A program of y = x with proper priors, in evaluation mode.
        data: The set.
        num_samples: Importance samples an image.
        batch_size: Images at a time.
        seed: Seed of the draws.

    Returns:
        The bounds.
    """
    device = next(program.parameters()).device
    weighted, single, counts = [], [], []
    with seeded(seed):
        for (x,) in batches((data.x.to(device),), batch_size, shuffle=False):
            log_weights = importance_log_weights(program.model, program.guide, x, x, num_samples=num_samples)
            weighted.append(importance_weighted_bound(log_weights))
            single.append(log_weights.mean(0))
            counts.append(effective_sample_size(log_weights))
    bound = torch.cat(weighted)
    return Bounds(
        elbo=torch.cat(single).mean().item(),
        importance_weighted=bound.mean().item(),
        num_importance_samples=num_samples,
        effective_sample_size=torch.cat(counts).mean().item(),
        standard_error=bound.std().item() / math.sqrt(len(bound)),
        num_images=len(bound),
    )
