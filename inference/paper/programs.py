"""The program of a run."""

from __future__ import annotations

from typing import Any

from ib_pyro import Bottleneck
from inference.names import require_known
from inference.paper.run import PaperRun

__all__ = ["build"]


def build(run: PaperRun, image_shape: tuple[int, int, int], num_classes: int) -> Bottleneck:
    """Build the program of a run, with fresh parameters from the ambient generator.

    Args:
        run: Its settings.
        image_shape: Channels, height and width of an image.
        num_classes: Number of classes.

    Raises:
        ValueError: If the model is unknown.
    """
    require_known("model", run.model, ("mlp", "all-cnn-32", "all-cnn-96", "vae"))
    if run.model == "vae":
        return _vae(run, image_shape)
    common: dict[str, Any] = {
        "dropout": run.dropout,
        "activation": run.activation,
        "image_shape": image_shape,
        "num_classes": num_classes,
        **_noise(run),
    }
    if run.model == "mlp":
        from models.mlp import MLP

        return MLP(hidden=int(run.size), batch_norm=run.batch_norm, **common)
    from models.all_cnn import AllCNN32, AllCNN96

    network = AllCNN32 if run.model == "all-cnn-32" else AllCNN96
    return network(fraction=run.size, channels_last=True, **common)


def _noise(run: PaperRun) -> dict[str, Any]:
    options = {
        "binary": {"drop_prob": run.drop_prob},
        "constant": {"alpha": run.alpha},
        "information": {"alpha_max": run.alpha_max},
    }
    return options.get(run.dropout, {})


def _vae(run: PaperRun, image_shape: tuple[int, int, int]) -> Bottleneck:
    from models.vae import VAE

    return VAE(k=int(run.size), latent=run.latent or "information", image_shape=image_shape)
