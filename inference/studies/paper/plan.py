"""What the figures run: how large, and what each run is for.

The preset ``paper`` is what the paper prints, for a GPU: all training images, and for All-CNN-32 SGD with plain
momentum, a learning rate of 0.1 that falls to a tenth after epochs 80 and 120, and 160 epochs. What it leaves open is
as in the authors' code, or ours. ``code`` has the optimiser and the networks of the authors' code instead, for the
figures that they published code for. ``small`` keeps the shape of the result with fewer filters, images, epochs and
values of beta, within two hours on two CPU cores. ``definitive`` is what the claims are judged by, on a CPU too: fits
that overfit, or all images, and seeds that no rule of ``RULES.md`` was made on. ``smoke`` only shows that the program
runs.

What the Lagrangian weighs is a nat of rate per image, ``beta / N``. With a tenth of the paper's 50,000 images, a tenth
of its beta is the same trade, which the figures keep at ``small`` rather than the number: Figures 1, 3b, 5 and 6 fit
5,000 images, and their 0.5 weighs a nat by 1e-4, near the 6e-5 of the paper's 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ib_pyro import Bottleneck
from inference.runs.spec import RunSpec
from inference.runs.splits import Splits

__all__ = [
    "CODE_CNN",
    "FRESH",
    "OVERFITTING_CNN",
    "PAPER_CNN",
    "PER_IMAGE",
    "PRESETS",
    "SMALL_CNN",
    "SMOKE_CNN",
    "THREE",
    "TRIALS",
    "Load",
    "Planned",
    "Size",
    "cifar_run",
    "cnn_run",
    "paper_run",
]

PRESETS = ("smoke", "small", "definitive", "paper", "code")
PER_IMAGE = (
    "What the Lagrangian weighs is β, the weight of a nat per image. The small presets fit fewer images than the "
    "paper's 50,000, with β × N smaller in proportion, so that β is about the paper's."
)
"""What a reader of the small preset's betas must know."""

Load = Callable[[], tuple[Bottleneck, Splits]]
"""Loads a run's fitted program and its images."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Size of a figure's runs.

    Args:
        sizes: Widths of an MLP, shares of the filters of an All-CNN, or factors k of a VAE.
        betas: Weights of the rate, in the paper's units (times the number of training images).
        seeds: Seeds of the runs.
        epochs: Length of a fit.
        drops: Epochs after which the learning rate drops to a tenth.
        lr: Learning rate of the first epoch.
        nesterov: Nesterov's momentum instead of the plain one.
        batch_size: Images in a step.
        holdout: Images kept from the training split of runs that choose nothing; None for the set's own number.
        train_images: Images to fit; None for the whole training split.
        validation_images: Held-out images, for figures whose methods choose a setting on them; None for all.
        test_images: Test images; None for all.
        trial_epochs: Length of the fits that choose a method's setting.
        candidates: Number of settings that each method may choose from.
        trial_seeds: Seeds of the fits that choose.
        protocol: Whether the paper's own strengths are fitted beside the chosen ones.
        control: Whether a control is fitted beside.
        once: Sizes, among ``sizes``, of which the first seed alone is fitted, after all else.
        num_samples: Noise samples of the posterior predictive.
        variant: The all-convolutional networks and their fits: ``"ours"``, or as in the authors' code, ``"authors"``.
    """

    sizes: tuple[float, ...]
    betas: tuple[float, ...] = ()
    seeds: tuple[int, ...] = (0,)
    epochs: int
    drops: tuple[int, ...] = ()
    lr: float = 0.05
    nesterov: bool = False
    batch_size: int = 100
    holdout: int | None = None
    train_images: int | None = None
    validation_images: int | None = 0
    test_images: int | None = None
    trial_epochs: int = 0
    candidates: int = 3
    trial_seeds: tuple[int, ...] = (0,)
    protocol: bool = False
    once: tuple[float, ...] = ()
    control: bool = False
    num_samples: int = 1
    variant: str = "ours"

    @property
    def trial(self) -> Size:
        """Size of the fits that choose: shorter, with the learning rate dropping at the same shares of them."""
        share = self.trial_epochs / self.epochs
        drops = tuple(max(1, round(share * epoch)) for epoch in self.drops)
        return replace(self, epochs=self.trial_epochs, drops=drops, holdout=None)

    @property
    def of_the_code(self) -> Size:
        """The same with the optimiser and the networks of the authors' code, in the fits that choose as well."""
        return replace(self, **CODE_CNN, trial_epochs=CODE_CNN["epochs"] if self.trial_epochs else 0)


SMOKE_CNN: dict[str, Any] = {
    "epochs": 1,
    "train_images": 60,
    "test_images": 60,
    "batch_size": 20,
    "nesterov": True,
}
SMALL_CNN: dict[str, Any] = {
    "epochs": 15,
    "drops": (8, 12),
    "train_images": 5000,
    "test_images": 10_000,
    "batch_size": 50,
    "nesterov": True,
}
OVERFITTING_CNN: dict[str, Any] = {**SMALL_CNN, "epochs": 40, "drops": (20, 30), "train_images": 2000}
PAPER_CNN: dict[str, Any] = {"epochs": 160, "drops": (80, 120), "lr": 0.1, "holdout": 0}
CODE_CNN: dict[str, Any] = {
    "epochs": 200,
    "drops": (80, 120, 160),
    "lr": 0.05,
    "nesterov": True,
    "variant": "authors",
}
THREE = (0, 1, 2)
FRESH = tuple(range(101, 113))
"""Seeds of the definitive preset, in the order in which they are run: no earlier run had one of them."""
TRIALS = (191, 192)
"""Seeds of its fits that choose a strength."""


@dataclass(frozen=True)
class Planned:
    """A run of a figure, and what it is for.

    Args:
        spec: The run; figures that need the same one share it.
        labels: Columns that its rows have beside their own.
    """

    spec: RunSpec
    labels: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What tells it from the figure's others."""
        return f"{self.spec.name} {self.labels}"


def paper_run(size: Size, *, seed: int = 0, **settings: Any) -> RunSpec:
    """One fit of a figure.

    Args:
        size: Its length, images and optimiser.
        seed: Its seed.
        **settings: Other settings of ``RunSpec.of``.
    """
    return RunSpec.of(
        **{
            "epochs": size.epochs,
            "lr_drops": tuple(drop for drop in size.drops if drop < size.epochs),
            "lr": size.lr,
            "batch_size": size.batch_size,
            "nesterov": size.nesterov,
            "optimizer": "sgd",
            "steady_priors": True,
            "holdout": size.holdout,
            "limit": size.train_images,
            "validation_limit": 0,
            "test_limit": size.test_images,
            "num_samples": size.num_samples,
            "validate_every_epoch": False,
            "checkpoint_every": max(1, size.epochs // 40),
            "seed": seed,
            **settings,
        }
    )


def cnn_run(size: Size, **settings: Any) -> RunSpec:
    """One fit of an all-convolutional network, evaluated in batches that its first maps leave memory for."""
    if size.variant == "authors":
        # A learned prior is a parameter as any other there.
        settings = {"variant": "authors", "steady_priors": False, "nesterov": True, **settings}
    return paper_run(size, **{"eval_batch_size": 250, **settings})


def cifar_run(size: Size, *, data: str = "cifar10", **settings: Any) -> RunSpec:
    """One fit of an All-CNN-32 on prepared images, weight decay ``1e-3 · ½ ||w||²`` as in the authors' code.

    Args:
        size: Its size.
        data: ``"cifar10"`` or ``"occluded-cifar"``.
        **settings: Other settings of ``RunSpec.of``, such as the share of the filters, ``fraction``.
    """
    return cnn_run(size, model="all-cnn-32", data=data, whiten=True, weight_decay=1e-3, **settings)
