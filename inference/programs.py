"""Pyro programs by name, built from a configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ib_pyro import Bottleneck
    from inference.config import FitConfig

__all__ = ["AUTOENCODERS", "DROPOUTS", "LATENTS", "PROGRAMS", "build_program"]

LATENTS = ("gaussian", "information")
DROPOUTS = ("information", "binary", "gaussian", "constant", "none")

ImageShape = tuple[int, int, int]


def build_program(config: FitConfig, image_shape: ImageShape, num_classes: int) -> Bottleneck:
    """Build the program that a configuration names, with fresh parameters from the ambient generator.

    Args:
        config: Settings; ``config.model`` is a key of `PROGRAMS`.
        image_shape: Channels, height and width of an image.
        num_classes: Number of classes of the task.

    Returns:
        The program.
    """
    return PROGRAMS[config.model](config, image_shape, num_classes)


def _mlp(config: FitConfig, image_shape: ImageShape, num_classes: int) -> Bottleneck:
    from models.mlp import MLP

    noise = {"binary": {"drop_prob": config.drop_prob}, "constant": {"alpha": config.alpha}}
    return MLP(
        hidden=config.hidden,
        dropout=config.dropout,
        image_shape=image_shape,
        num_classes=num_classes,
        batch_norm=config.batch_norm,
        **noise.get(config.dropout, {}),
    )


def _all_cnn(config: FitConfig, image_shape: ImageShape, num_classes: int) -> Bottleneck:
    from models.all_cnn import AllCNN32, AllCNN96

    if not config.batch_norm:
        raise ValueError(
            f"--model {config.model} has batch norm before each activation; leave --batch-norm true"
        )
    network = AllCNN32 if config.model == "all-cnn-32" else AllCNN96
    noise = {"binary": {"drop_prob": config.drop_prob}, "constant": {"alpha": config.alpha}}
    return network(
        dropout=config.dropout,
        image_shape=image_shape,
        num_classes=num_classes,
        channels_last=True,
        **noise.get(config.dropout, {}),
    )


def _vae(config: FitConfig, image_shape: ImageShape, num_classes: int) -> Bottleneck:
    from models.vae import VAE

    return VAE(k=config.k, latent=config.latent, image_shape=image_shape)


# Programs of y = x; all others classify.
AUTOENCODERS = ("vae",)

# The program's module is imported when it is built, so that naming the programs costs nothing.
PROGRAMS: dict[str, Callable[[FitConfig, ImageShape, int], Bottleneck]] = {
    "all-cnn-32": _all_cnn,
    "all-cnn-96": _all_cnn,
    "mlp": _mlp,
    "vae": _vae,
}
