"""Fit and evaluate one run of the paper's experiments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import MultiStepLR

from ib_pyro import Bottleneck
from ib_pyro.elbo import InformationBottleneckELBO
from inference.checkpoint import restore_program
from inference.evaluation import Evaluation, evaluate
from inference.fitting import FitResult, fit
from inference.optimizers import build_optimizer
from inference.paper.data import Splits, load_splits
from inference.paper.programs import build
from inference.paper.run import PaperRun, Place
from inference.paper.sites import sample_sites
from inference.randomness import seeded
from inference.run_folder import RunFolder
from models.vae import binarise

__all__ = ["execute", "load_program"]

# Images at a time in an evaluation, bounded by the memory that the first maps of an All-CNN-96 take.
_EVALUATION_BATCH = 250


@dataclass(frozen=True)
class _Observed:
    """Images, and what is observed of them."""

    x: Tensor
    y: Tensor


def execute(run: PaperRun, place: Place, *, progress: bool = False) -> dict[str, Any]:
    """Fit and evaluate a run, unless it is done; go on from its checkpoint if it was interrupted.

    Args:
        run: Its settings.
        place: Where its data and its folder are.
        progress: Whether to show a progress bar.

    Returns:
        What ``result.json`` holds: errors (shares) with noise (N) and without (D), distortion and rates (nats per
        sample, test set), and the sizes.

    Raises:
        ValueError: If the folder holds another run.
        FloatingPointError: If the loss is not finite; the last checkpoint stays.
    """
    folder = RunFolder(place.folder(run))
    folder.check(run, resume=True)  # type: ignore[arg-type]  # a run has the two methods that it calls
    done = folder.result()
    if done is not None:
        return done
    with seeded(run.seed):
        splits = load_splits(run, place)
        program = build(run, splits.train.image_shape, splits.train.num_classes)
        folder.start(run, beta=_beta(run, splits), num_train=len(splits.train), source=splits.source)  # type: ignore[arg-type]
        history = _fit(run, splits, program, folder, progress=progress)
        result = _describe(run, splits, program, history)
        folder.write_result(result)
    return result


def load_program(run: PaperRun, place: Place) -> tuple[Bottleneck, Splits]:
    """Load the fitted program of a run, in evaluation mode on the device that fits use, with its data on the CPU."""
    splits = load_splits(run, place)
    with seeded(run.seed):
        program = build(run, splits.train.image_shape, splits.train.num_classes)
    restore_program(RunFolder(place.folder(run)).checkpoint_file, program)
    return program.eval().to(_fabric().device), splits


def _fabric() -> Fabric:
    return Fabric(accelerator="auto", devices=1)


def _beta(run: PaperRun, splits: Splits) -> float:
    return run.beta_paper / len(splits.train) if run.beta is None else run.beta


def _fit(
    run: PaperRun, splits: Splits, program: Bottleneck, folder: RunFolder, *, progress: bool
) -> FitResult:
    optimizer = _optimizer(run, splits, program)
    return fit(
        program,
        splits.train,
        epochs=run.epochs,
        batch_size=run.batch_size,
        elbo=InformationBottleneckELBO(beta=_beta(run, splits)),
        optimizer=optimizer,
        scheduler=MultiStepLR(optimizer, run.drops, gamma=0.1),
        fabric=_fabric(),
        order=torch.Generator().manual_seed(run.seed),
        transform=_binarised if run.model == "vae" else None,
        checkpoint=folder.checkpoint_file,
        checkpoint_every=max(1, run.epochs // 40),
        resume=True,
        on_epoch=folder.write_metrics,
        progress=progress,
    )


def _binarised(x: Tensor, _y: Tensor) -> tuple[Tensor, Tensor]:
    """What a VAE sees of a batch: its images drawn anew from their grey values, and themselves as what is observed."""
    drawn = binarise(x)
    return drawn, drawn


def _optimizer(run: PaperRun, splits: Splits, program: Bottleneck) -> Optimizer:
    """The run's optimiser; learned priors go no faster than is stable.

    The pair of parameters that a layer's units share has beta times the number of units as its curvature. At the
    network's own learning rate a large beta would throw it, within some steps, to where the rate is infinite.
    """
    shared = {
        name: p for name, p in program.named_parameters() if name.rsplit(".", 1)[-1].startswith("prior_")
    }
    others = [p for name, p in program.named_parameters() if name not in shared]
    optimizer = build_optimizer(
        run.optimizer, others, lr=run.lr, nesterov=run.nesterov, weight_decay=run.weight_decay
    )
    if shared:
        units = max(z[0].numel() for z in sample_sites(program, splits.train.x[:2]).values())
        lr = min(run.lr, 0.25 / max(_beta(run, splits) * units, 1e-12))
        optimizer.add_param_group({"params": list(shared.values()), "lr": lr, "weight_decay": 0.0})
    return optimizer


def _describe(run: PaperRun, splits: Splits, program: Bottleneck, history: FitResult) -> dict[str, Any]:
    test = _evaluate(run, splits, program, "test")
    result: dict[str, Any] = {
        "beta": _beta(run, splits),
        "beta_paper": _beta(run, splits) * len(splits.train),
        "source": splits.source,
        "num_train": len(splits.train),
        "num_test": len(splits.test),
        "num_parameters": sum(parameter.numel() for parameter in program.parameters()),
        "epochs": history.epochs,
        "seconds": history.seconds,
        "train_error": history.history[-1].get("train_error"),
        "test_error_noisy": test.error_noisy,
        "test_error_predictive": test.error_predictive,
        "test_error_deterministic": test.error_deterministic,
        "distortion": test.distortion,
        "distortion_deterministic": test.distortion_deterministic,
        "rate": test.total_rate,
        **{f"rate/{site}": rate for site, rate in test.rate.items()},
    }
    if splits.validation is not None:
        held_out = _evaluate(run, splits, program, "validation")
        result |= {
            "validation_error_noisy": held_out.error_noisy,
            "validation_error_deterministic": held_out.error_deterministic,
        }
    return result


def _evaluate(run: PaperRun, splits: Splits, program: Bottleneck, split: str) -> Evaluation:
    data = getattr(splits, split)
    if run.model == "vae":
        drawn = binarise(data.x, torch.Generator().manual_seed(0))
        data = _Observed(drawn, drawn)
    return evaluate(
        program,
        data,
        train=splits.train,
        num_samples=run.num_samples,
        batch_size=_EVALUATION_BATCH if run.model.startswith("all-cnn") else 1000,
        seed=run.seed,
    )
