"""Bounds on the log-likelihood, by which programs of y = x are judged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ib_pyro.data import batches
from ib_pyro.diagnostics import importance_log_weights
from ib_pyro.information import effective_sample_size, importance_weighted_bound
from ib_pyro.precision import widest
from ib_pyro.training.data_placement import placed
from ib_pyro.training.programs import model_and_guide
from ib_pyro.training.randomness import seeded

__all__ = ["Bounds", "bounds"]


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


@torch.no_grad()
def bounds(
    program: nn.Module, x: Tensor, *, num_samples: int = 64, batch_size: int = 500, seed: int = 0
) -> Bounds:
    """Estimate both bounds of a program on a set, from the same draws.

    Args:
        program: A program of y = x with proper priors, in evaluation mode.
        x: Images, which are what is observed as well, ``[N, C, H, W]``.
        num_samples: Importance samples an image.
        batch_size: Images at a time.
        seed: Seed of the draws.

    Returns:
        The bounds.
    """
    weighted, single, counts = [], [], []
    model, guide = model_and_guide(program)
    with seeded(seed):
        for (part,) in batches((placed(x, program),), batch_size, shuffle=False):
            log_weights = importance_log_weights(model, guide, part, part, num_samples=num_samples)
            # Means over a set need more digits than its values have.
            log_weights = log_weights.to(widest(log_weights.device))
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
