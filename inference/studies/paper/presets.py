"""How large each figure is at each preset.

``paper`` is what the paper prints, for a GPU: all training images, and for All-CNN-32 SGD with plain momentum, a
learning rate of 0.1 that falls to a tenth after epochs 80 and 120, and 160 epochs. What it leaves open is as in the
authors' code, or ours. ``code`` has the optimiser of the authors' code instead, for the figures that they published
code for. ``small`` keeps the shape of the result with fewer filters, images, epochs and values of beta, within two
hours on two CPU cores. ``smoke`` only shows that the program runs.

What the Lagrangian weighs is a nat of rate per image, ``beta / N``. With a tenth of the paper's 50,000 images, a tenth
of its beta is the same trade, which the figures keep at ``small`` rather than the number: Figures 1, 3b, 5 and 6 fit
5,000 images, and their 0.5 weighs a nat by 1e-4, near the 6e-5 of the paper's 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from inference.names import require_known

__all__ = ["PRESETS", "Size", "figures_of", "preset_size"]

PRESETS = ("smoke", "small", "paper", "code")


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
        num_samples: Noise samples of the posterior predictive.
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
    num_samples: int = 1

    @property
    def trial(self) -> Size:
        """Size of the fits that choose: shorter, with the learning rate dropping at the same shares of them."""
        share = self.trial_epochs / self.epochs
        drops = tuple(max(1, round(share * epoch)) for epoch in self.drops)
        return replace(self, epochs=self.trial_epochs, drops=drops, holdout=None)


_SMOKE_CNN: dict[str, Any] = {
    "epochs": 1,
    "train_images": 60,
    "test_images": 60,
    "batch_size": 20,
    "nesterov": True,
}
_SMALL_CNN: dict[str, Any] = {
    "epochs": 15,
    "drops": (8, 12),
    "train_images": 5000,
    "test_images": 10_000,
    "batch_size": 50,
    "nesterov": True,
}
_PAPER_CNN: dict[str, Any] = {"epochs": 160, "drops": (80, 120), "lr": 0.1, "holdout": 0}
_CODE_CNN: dict[str, Any] = {"epochs": 200, "drops": (80, 120, 160), "lr": 0.05, "nesterov": True}
_THREE = (0, 1, 2)

_SIZES: dict[str, dict[str, Size]] = {
    "fig1": {
        "smoke": Size(sizes=(1 / 12,), betas=(0.1,), **_SMOKE_CNN),
        "small": Size(sizes=(0.25,), betas=(0.5,), **_SMALL_CNN),
        "paper": Size(sizes=(1.0,), betas=(3.0,), **_PAPER_CNN),
    },
    "fig2": {
        "smoke": Size(
            sizes=(1 / 8,), betas=(0.1, 3.0), epochs=1, batch_size=20, train_images=40, test_images=20
        ),
        "small": Size(
            sizes=(0.25,),
            # Per image those of the paper's 0.1, 0.5 and 3.
            betas=(0.02, 0.1, 0.6),
            epochs=24,
            drops=(16, 21),
            batch_size=50,
            train_images=10_000,
            test_images=1000,
        ),
        "paper": Size(
            sizes=(1.0,),
            betas=(0.1, 0.5, 3.0),
            epochs=80,
            drops=(30, 60),
            lr=0.01,
            batch_size=128,
            holdout=0,
        ),
    },
    "fig3a": {
        "smoke": Size(
            sizes=(8, 16),
            seeds=(0, 1),
            epochs=2,
            drops=(1,),
            lr=0.07,
            train_images=200,
            validation_images=50,
            test_images=100,
            trial_epochs=1,
            candidates=2,
            num_samples=2,
        ),
        "small": Size(
            sizes=(32, 64, 128),
            seeds=_THREE,
            epochs=80,
            drops=(40, 60),
            lr=0.07,
            batch_size=128,
            validation_images=None,
            trial_epochs=20,
            num_samples=16,
        ),
        "paper": Size(
            sizes=(32, 64, 128, 256, 512, 1024),
            seeds=(0, 1, 2, 3, 4),
            epochs=80,
            drops=(40, 60),
            lr=0.07,
            holdout=0,
            validation_images=None,
            trial_epochs=80,
            num_samples=16,
        ),
    },
    "fig3b": {
        "smoke": Size(
            sizes=(1 / 24, 1 / 12),
            betas=(0.1, 3.0),
            validation_images=40,
            trial_epochs=1,
            candidates=2,
            **_SMOKE_CNN,
        ),
        "small": Size(
            sizes=(0.0625, 0.125, 0.25),
            # Candidates: per image those of 3, 0.1 and 0.5 with all of the images.
            betas=(0.3, 0.01, 0.05),
            validation_images=None,
            trial_epochs=8,
            **_SMALL_CNN,
        ),
        "paper": Size(
            sizes=(0.25, 0.5, 0.75, 1.0),
            betas=(3.0, 0.1, 0.5),
            seeds=_THREE,
            validation_images=None,
            trial_epochs=160,
            **_PAPER_CNN,
        ),
    },
    "fig4": {
        "smoke": Size(sizes=(1 / 12,), betas=(0.1, 8.0), **_SMOKE_CNN),
        # Per image those of 0.1, 0.5, 1, 5, 20 and 80 with all of the images.
        "small": Size(
            sizes=(0.25,),
            betas=(0.01, 0.05, 0.1, 0.5, 2.0, 8.0),
            seeds=_THREE,
            **{**_SMALL_CNN, "test_images": 5000},
        ),
        "paper": Size(sizes=(1.0,), betas=(0.1, 0.5, 1.0, 2.0, 4.0, 8.0), seeds=_THREE, **_PAPER_CNN),
    },
    "fig5": {
        "smoke": Size(sizes=(1 / 12,), betas=(0.1, 8.0), **_SMOKE_CNN),
        # Per image those of 0.1, 0.5, 1, 5 and 20 with all of the images.
        "small": Size(sizes=(0.25,), betas=(0.01, 0.05, 0.1, 0.5, 2.0), seeds=_THREE, **_SMALL_CNN),
        "paper": Size(sizes=(0.25,), betas=(0.1, 0.5, 1.0, 2.0, 4.0, 8.0), seeds=_THREE, **_PAPER_CNN),
    },
    "fig6": {
        "smoke": Size(sizes=(1 / 24, 1 / 12), betas=(3.0,), **_SMOKE_CNN),
        "small": Size(sizes=(0.0625, 0.125, 0.25), betas=(0.5,), seeds=_THREE, **_SMALL_CNN),
        "paper": Size(sizes=(0.25, 0.5, 0.75, 1.0), betas=(3.0,), seeds=_THREE, **_PAPER_CNN),
    },
    "table1": {
        "smoke": Size(sizes=(1, 2), epochs=1, lr=1e-3, batch_size=50, train_images=100, test_images=50),
        "small": Size(
            sizes=(1, 2, 3),
            epochs=30,
            drops=(24,),
            lr=1e-3,
            batch_size=128,
            train_images=10_000,
        ),
        "paper": Size(
            sizes=(1, 2, 3), seeds=_THREE, epochs=300, drops=(30, 120), lr=1e-3, batch_size=256, holdout=0
        ),
    },
}
for _name in ("fig1", "fig3b", "fig5"):
    _printed = _SIZES[_name]["paper"]
    _SIZES[_name]["code"] = replace(_printed, **_CODE_CNN, trial_epochs=200 if _printed.trial_epochs else 0)


def preset_size(figure: str, preset: str) -> Size:
    """Size of a figure at a preset.

    Raises:
        ValueError: If either is unknown, or the figure has no such preset.
    """
    require_known("figure", figure, _SIZES)
    require_known("preset", preset, PRESETS)
    if preset not in _SIZES[figure]:
        raise ValueError(
            f"{figure} has no preset {preset!r}: the authors published no other settings for it; use 'paper'"
        )
    return _SIZES[figure][preset]


def figures_of(preset: str) -> list[str]:
    """Figures that have a preset, in their order.

    Raises:
        ValueError: If it is unknown.
    """
    require_known("preset", preset, PRESETS)
    return [figure for figure, sizes in _SIZES.items() if preset in sizes]
