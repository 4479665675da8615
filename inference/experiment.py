"""A run from its configuration to its result: data, program, fit, evaluation, files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers import TensorBoardLogger
from torch.optim.lr_scheduler import MultiStepLR

from ib_pyro import Bottleneck
from ib_pyro.data import DATASETS, LabelledImages, load
from ib_pyro.elbo import InformationBottleneckELBO
from inference.autoencoding import binarised, bounds, redraw_binary
from inference.checkpoint import restore_program
from inference.config import FitConfig
from inference.evaluation import Evaluation, evaluate
from inference.fitting import FitResult, check_data, fit
from inference.lagrangian import Schedule, build_elbo, build_schedules, describe, lagrangian, reached
from inference.names import require_known
from inference.optimizers import build_optimizer
from inference.programs import AUTOENCODERS, build_program
from inference.randomness import seeded
from inference.run_folder import RunFolder

__all__ = ["evaluate_run", "load_run", "run"]


@dataclass(frozen=True)
class _Setup:
    config: FitConfig
    train: LabelledImages
    validation: LabelledImages | None
    test: LabelledImages
    program: Bottleneck
    elbo: InformationBottleneckELBO
    schedules: dict[str, Schedule]
    fabric: Fabric


def run(config: FitConfig, *, resume: bool = False, progress: bool = True) -> dict[str, Any]:
    """Fit as configured, evaluate, and keep everything in ``config.out``.

    The ambient random generators are seeded for the length of the run, and are left as they were.

    Args:
        config: All settings.
        resume: Whether to go on from a checkpoint; a run that is done returns its result at once.
        progress: Whether to show a progress bar.

    Returns:
        What ``result.json`` holds.

    Raises:
        ValueError: If the settings, the data or the folder do not fit; nothing is written then.
        FloatingPointError: If the loss is not finite; the run stays as its last checkpoint left it.
    """
    folder = RunFolder(config.out)
    folder.check(config, resume=resume)
    done = folder.result()
    if done is not None:
        return done
    with _threads(config.threads), seeded(config.seed):
        setup = _prepare(config)
        folder.start(config, **_facts(setup))
        history = _fit(setup, folder, resume=resume, progress=progress)
        return _finish(setup, folder, history)


def evaluate_run(path: Path, *, data_root: Path | None = None) -> dict[str, Any]:
    """Recompute ``result.json`` of a finished run from its checkpoint.

    Args:
        path: Folder of the run.
        data_root: Where the data lie now, if not where they were.

    Returns:
        What ``result.json`` holds, the same as after the fit.

    Raises:
        ValueError: If the folder holds no run, or one that is not finished.
    """
    folder = RunFolder(path)
    config = folder.config()
    if data_root is not None:
        config = replace(config, data_root=data_root)
    if not folder.checkpoint_file.exists():
        raise ValueError(f"{path} has no checkpoint yet; go on with `fit --resume`")
    with _threads(config.threads), seeded(config.seed):
        setup = _prepare(config)
        history = restore_program(folder.checkpoint_file, setup.program)
        if len(history) < config.epochs:
            raise ValueError(
                f"{path} is at epoch {len(history)} of {config.epochs}; go on with `fit --resume`"
            )
        setup.program.to(setup.fabric.device)
        return _finish(setup, folder, FitResult(history))


def load_run(path: Path, *, data_root: Path | None = None) -> tuple[Bottleneck, LabelledImages]:
    """Load the program of a run from its checkpoint, with the images to question it on.

    Args:
        path: Folder of the run.
        data_root: Where the data lie now, if not where they were.

    Returns:
        The program in evaluation mode, on the CPU, and the test set.

    Raises:
        ValueError: If the folder holds no run.
    """
    folder = RunFolder(path)
    config = folder.config() if data_root is None else replace(folder.config(), data_root=data_root)
    with seeded(config.seed):
        setup = _prepare(config)
    restore_program(folder.checkpoint_file, setup.program)
    return setup.program.eval(), setup.test


def _prepare(config: FitConfig) -> _Setup:
    train, validation, test = _load(config)
    program = build_program(config, train.image_shape, train.num_classes)
    if config.model not in AUTOENCODERS:
        check_data(program, train, batch_size=config.batch_size)
    objective = (config, len(train), program.stochastic_layers)
    elbo, schedules = build_elbo(*objective), build_schedules(*objective)
    return _Setup(config, train, validation, test, program, elbo, schedules, _fabric(config))


def _load(config: FitConfig) -> tuple[LabelledImages, LabelledImages | None, LabelledImages]:
    require_known("data set", config.data, DATASETS)
    options = {"root": config.data_root, "seed": config.data_seed}
    held_out = options if config.holdout is None else {**options, "holdout": config.holdout}
    try:
        train = load(config.data, "train", limit=config.limit, **held_out)
        validation = None if config.holdout == 0 else load(config.data, "validation", **held_out)
        return train, validation, load(config.data, "test", **options)
    except (ValueError, OSError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(_as_options(str(error))) from error


def _as_options(message: str) -> str:
    """Name arguments of `load` as they are typed on the command line."""
    message = re.sub(r"^root: ", "--data-root: ", message)
    message = re.sub(r"^(limit|holdout): ", r"--\1: ", message)
    return message.replace("root=DIR", "--data-root DIR")


def _fabric(config: FitConfig) -> Fabric:
    loggers = [TensorBoardLogger(config.out, name="tensorboard", version="")] if config.tensorboard else None
    try:
        return Fabric(accelerator=config.accelerator, devices=1, precision=config.precision, loggers=loggers)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"--accelerator {config.accelerator}, --precision {config.precision}: {error}"
        ) from error


def _facts(setup: _Setup) -> dict[str, Any]:
    beta, beta_paper = setup.config.betas(len(setup.train))
    return {
        "beta": beta,
        "beta_paper": beta_paper,
        "num_train": len(setup.train),
        "num_validation": len(setup.validation) if setup.validation is not None else 0,
        "num_test": len(setup.test),
        "num_parameters": sum(parameter.numel() for parameter in setup.program.parameters()),
        "lr_drops": list(setup.config.lr_milestones),
        "device": str(setup.fabric.device),
    }


def _fit(setup: _Setup, folder: RunFolder, *, resume: bool, progress: bool) -> FitResult:
    config = setup.config
    optimizer = build_optimizer(
        config.optimizer,
        setup.program.parameters(),
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )
    return fit(
        setup.program,
        setup.train,
        epochs=config.epochs,
        batch_size=config.batch_size,
        elbo=setup.elbo,
        optimizer=optimizer,
        scheduler=MultiStepLR(optimizer, config.lr_milestones, gamma=config.lr_factor),
        validation=setup.validation,
        fabric=setup.fabric,
        order=torch.Generator().manual_seed(config.seed),
        transform=redraw_binary if config.model in AUTOENCODERS else None,
        schedules=setup.schedules,
        checkpoint=folder.checkpoint_file,
        checkpoint_every=config.checkpoint_every,
        resume=resume,
        on_epoch=folder.write_metrics,
        progress=progress,
    )


def _finish(setup: _Setup, folder: RunFolder, history: FitResult) -> dict[str, Any]:
    facts = _facts(setup)
    noise = "latent" if setup.config.model in AUTOENCODERS else "dropout"
    result: dict[str, Any] = {name: getattr(setup.config, name) for name in ("model", noise, "data", "seed")}
    result |= {name: facts[name] for name in ("beta", "beta_paper", "num_train", "num_parameters")}
    result |= {"epochs": history.epochs, "seconds": history.seconds}
    result |= {"objective": describe(setup.config), **reached(setup.config, setup.elbo, history.history[-1])}
    if setup.config.model in AUTOENCODERS:
        folder.write_result(_with_lagrangian(result | _bounds(setup), setup.elbo))
        return folder.result() or {}
    result |= _described(_evaluate(setup, setup.test), "test")
    if setup.validation is not None:
        result |= _described(_evaluate(setup, setup.validation), "validation")
    result = _with_lagrangian(result, setup.elbo)
    folder.write_result(result)
    return result


def _with_lagrangian(result: dict[str, Any], elbo: InformationBottleneckELBO) -> dict[str, Any]:
    # The total correlation is a property of the training set's batches; nothing is reported in its place.
    return result if elbo.gamma else {**result, "lagrangian": lagrangian(result, elbo.beta)}


def _bounds(setup: _Setup) -> dict[str, Any]:
    config = setup.config
    test = binarised(setup.test, seed=config.data_seed)
    found = bounds(setup.program, test, num_samples=config.num_importance_samples, seed=config.seed)
    evaluation = evaluate(
        setup.program, test, num_samples=1, batch_size=config.eval_batch_size, seed=config.seed
    )
    return {
        "k": config.k,
        "test_elbo": found.elbo,
        "test_importance_weighted": found.importance_weighted,
        "test_importance_weighted_standard_error": found.standard_error,
        "test_gap": found.gap,
        "num_importance_samples": found.num_importance_samples,
        "effective_sample_size": found.effective_sample_size,
        "distortion": evaluation.distortion,
        "rate": evaluation.total_rate,
        **{f"rate/{site}": rate for site, rate in evaluation.rate.items()},
        "units": "nats per image, of the test set, stochastically binarised once",
    }


def _evaluate(setup: _Setup, data: LabelledImages) -> Evaluation:
    config = setup.config
    return evaluate(
        setup.program,
        data,
        train=setup.train,
        num_samples=config.num_samples,
        batch_size=config.eval_batch_size,
        seed=config.seed,
    )


def _described(evaluation: Evaluation, split: str) -> dict[str, Any]:
    errors = {
        f"{split}_error_{name}": getattr(evaluation, f"error_{name}")
        for name in ("noisy", "predictive", "deterministic")
    }
    if split != "test":
        return errors
    return {
        **errors,
        "num_samples": evaluation.num_samples,
        "distortion": evaluation.distortion,
        "distortion_deterministic": evaluation.distortion_deterministic,
        "rate": evaluation.total_rate,
        **{f"rate/{site}": rate for site, rate in evaluation.rate.items()},
        "units": "errors: shares of the images; distortion and rate: nats per sample, of the test set",
    }


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
