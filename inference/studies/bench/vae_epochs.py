"""What an epoch of the MNIST autoencoder costs, in four ways."""

from __future__ import annotations

import pyro
import torch
from torch import Tensor

from ib_pyro.elbo import InformationBottleneckELBO
from inference.studies.bench.device import Device
from inference.studies.bench.loops import fit_block, hand_block
from inference.studies.bench.pyro_vae import tutorial_block
from inference.studies.bench.synthetic import binary_images
from inference.studies.bench.taking_turns import Block, Comparison, take_turns
from inference.studies.bench.vae_by_hand import VAEByHand
from models.vae import VAE

__all__ = ["BATCH", "vae_block", "vae_epochs"]

BATCH = 256


def vae_epochs(images: int, device: Device, *, epochs: int) -> Comparison:
    """Time epochs of the autoencoder 784-400-50-400-784 over binary images, in batches of 256.

    Args:
        images: Images in an epoch.
        device: Where to compute.
        epochs: Epochs of each way.
    """
    x = binary_images(images, device.name)
    torch.manual_seed(0)
    with pyro.get_param_store().scope():
        ways = {
            "captured": vae_block(x, capture="on"),
            "uncaptured": vae_block(x, capture="off"),
            "by hand": hand_block(VAEByHand().to(x.device), x, x, BATCH, beta=1.0, optimizer="adam"),
            "Pyro's tutorial": tutorial_block(x, BATCH),
        }
        times = take_turns(ways, blocks=epochs, wait=device.wait)
    return Comparison("MNIST VAE", "epoch", device.threads, device.clock, times)


def vae_block(x: Tensor, *, capture: str) -> Block:
    """Return an epoch of ``fit`` with Gaussian latents and a beta of 1.

    Args:
        x: Images ``[N, 1, 28, 28]`` of zeros and ones.
        capture: ``"on"`` or ``"off"``.
    """
    program = VAE(latent="gaussian", num_latent=50, hidden=400).to(x.device)
    elbo = InformationBottleneckELBO()
    return fit_block(program, x, x, BATCH, capture=capture, elbo=elbo, optimizer="adam")
