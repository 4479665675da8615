"""One run of the paper's experiments, described well enough to be told from any other."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PaperRun", "Place"]


@dataclass(frozen=True, kw_only=True)
class PaperRun:
    """Settings of one run; figures that need the same run share it.

    Args:
        model: ``"mlp"``, ``"all-cnn-32"``, ``"all-cnn-96"`` or ``"vae"``.
        data: Name of the data set.
        size: Width of the hidden layers of an MLP, share of the filters of an All-CNN, or factor k of a VAE.
        dropout: Kind of the noise.
        activation: ``"relu"`` (log-uniform prior) or ``"softplus"`` (log-normal prior).
        beta_paper: Weight of the rate, times the number of training images.
        beta: Weight of the rate per sample in nats, for a VAE, which never divides.
        drop_prob: Drop probability of binary dropout.
        alpha: Scale of constant noise.
        alpha_max: Largest scale of learned noise.
        batch_norm: Batch norm before each activation of an MLP.
        latent: Latent of a VAE.
        holdout: Images of the training pool that are kept from the training split; None for the set's own number.
        train_images: Images to fit, of the training split; None for all of it.
        validation_images: Held-out images, which choose settings; None for all, 0 for no such evaluation.
        test_images: Test images; None for all.
        whiten: Prepare images by per-image normalisation and ZCA.
        epochs: Length of the fit.
        batch_size: Images in a step.
        optimizer: ``"sgd"`` or ``"adam"``.
        lr: Learning rate of the first epoch.
        drops: Epochs after which the learning rate drops to a tenth.
        nesterov: Nesterov's momentum.
        weight_decay: Factor of ``½ ||w||²``.
        num_samples: Noise samples of the posterior predictive.
        seed: Of the weights, the noise and the order of the batches.
        stage: What the run is for, where its other settings do not say.
    """

    model: str
    data: str
    size: float
    dropout: str = "information"
    activation: str = "relu"
    beta_paper: float = 0.0
    beta: float | None = None
    drop_prob: float | None = None
    alpha: float | None = None
    alpha_max: float = 0.7
    batch_norm: bool = True
    latent: str | None = None
    holdout: int | None = None
    train_images: int | None = None
    validation_images: int | None = 0
    test_images: int | None = None
    whiten: bool = False
    epochs: int = 80
    batch_size: int = 100
    optimizer: str = "sgd"
    lr: float = 0.07
    drops: tuple[int, ...] = ()
    nesterov: bool = False
    weight_decay: float = 0.0
    num_samples: int = 16
    seed: int = 0
    stage: str | None = None

    @property
    def name(self) -> str:
        """Name of the run's folder: readable, and different for different settings."""
        digest = hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode()).hexdigest()[:8]
        strength = self.rate_setting
        parts = [self.model, f"{self.size:g}", self.data, self.latent or self.dropout]
        parts += [] if strength is None else [f"{strength:g}"]
        return "-".join([*parts, self.activation, f"seed{self.seed}", digest])

    @property
    def rate_setting(self) -> float | None:
        """What sets the strength of the noise: beta in the paper's units, a drop probability or a scale."""
        if self.dropout == "information":
            return self.beta_paper if self.beta is None else self.beta
        return {"binary": self.drop_prob, "constant": self.alpha}.get(self.dropout)

    def settings(self) -> dict[str, Any]:
        """The settings that are not the defaults, as JSON values: a new option leaves older runs their names."""
        pairs = [(entry.name, getattr(self, entry.name), entry.default) for entry in dataclasses.fields(self)]
        changed = {name: value for name, value, default in pairs if value != default}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}

    def differences(self, settings: dict[str, Any]) -> list[str]:
        """What separates this run from the one with ``settings``, a line each."""
        mine = self.settings()
        pairs = [(name, settings.get(name), mine.get(name)) for name in {**mine, **settings}]
        return [f"{name}: {theirs} there, {ours} here" for name, theirs, ours in pairs if theirs != ours]


@dataclass(frozen=True)
class Place:
    """Where data come from and runs go to.

    Args:
        out: Folder of the figures; ``runs/`` in it (``runs-stand-in/`` without real images) has a folder a run.
        data_root: Folder of the real images; None for small stand-ins made of scikit-learn's digits.
    """

    out: Path
    data_root: Path | None = None

    def folder(self, run: PaperRun) -> Path:
        """Folder of a run; runs on stand-ins have a place of their own."""
        return self.out / ("runs" if self.data_root else "runs-stand-in") / run.name
