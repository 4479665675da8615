"""The autoencoder of :mod:`models.vae` with Gaussian latents, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["VAEByHand"]


class VAEByHand(nn.Module):
    """A hidden ReLU layer in encoder and decoder, softplus scales, and Bernoulli pixels.

    Args:
        hidden: Width of the hidden layers.
        latent: Number of latents.
        pixels: Pixels of an image.
    """

    def __init__(self, hidden: int = 400, latent: int = 50, pixels: int = 784) -> None:
        super().__init__()
        self.hidden = nn.Linear(pixels, hidden)
        self.loc, self.scale = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of the pixels ``[B, pixels]`` and the rate ``[B]``, nats per sample."""
        h = F.relu(self.hidden(x.flatten(1)))
        loc, scale = self.loc(h), F.softplus(self.scale(h))
        variance = scale.square()
        rate = 0.5 * (variance + loc.square() - 1 - variance.log()).sum(1)
        return self.decoder(loc + scale * torch.randn_like(scale)), rate

    def loss(self, x: Tensor, y: Tensor, beta: float) -> Tensor:
        """Return the mean Lagrangian of a batch, nats per sample; with ``y = x`` and ``beta = 1`` minus the ELBO."""
        logits, rate = self(x)
        distortion = F.binary_cross_entropy_with_logits(logits, y.flatten(1), reduction="sum") / len(x)
        return distortion + beta * rate.mean()
