"""A run from what it is to what came of it: data, program, fit, evaluation, files."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn

from ib_pyro import Bottleneck
from ib_pyro.data import LabelledImages
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.training.batch_arguments import Batch, Placement
from ib_pyro.training.checkpoint import restore_program
from ib_pyro.training.data_checks import check_data, look_at
from ib_pyro.training.dataset import Dataset
from ib_pyro.training.fit_result import FitResult
from ib_pyro.training.fitting import fit
from ib_pyro.training.lagrangian import Schedule, lagrangian
from ib_pyro.training.sound_set import require_sound_set
from inference.runs.failure import failure_kept
from inference.runs.folder import RunFolder
from inference.runs.spec import RunSpec
from inference.runs.splits import Splits

__all__ = [
    "OutOfTime",
    "Prepared",
    "evaluate_run",
    "facts_of",
    "finish",
    "held_out",
    "load_run",
    "own_sets",
    "prepare",
    "run",
]


class OutOfTime(Exception):
    """A run has stopped at a checkpoint because its time was over; resumed, it goes on from there."""


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to be fitted: its data, program, objective and device."""

    spec: RunSpec
    splits: Splits
    program: nn.Module
    elbo: InformationBottleneckELBO
    schedules: dict[str, Schedule]
    fabric: Fabric


def run(
    spec: RunSpec,
    out: Path,
    *,
    resume: bool = False,
    progress: bool = True,
    cache: Path | None = None,
    threads: int | None = None,
    until: float = math.inf,
    spread: bool = False,
) -> dict[str, Any]:
    """Fit and evaluate, and keep everything in a folder.

    The ambient random generators are seeded for the length of the run, and are left as they were.

    Args:
        spec: The run.
        out: Its folder; new, empty or, to be resumed, this run's.
        resume: Whether to go on from a checkpoint; a run that is done returns its result at once.
        progress: Whether to show a progress bar.
        cache: Folder that keeps what several runs prepare alike, the whitening; by default that of the data's cache.
        threads: CPU threads of one operation where neither the spec nor a run that is resumed says how many; by
            default PyTorch's choice. Sums round by them, so that a run keeps its number.
        until: When to stop at the next checkpoint, in the seconds of ``time.time``; the last epochs are not begun
            then, and a fit that is done is still evaluated.
        spread: Whether a run over several devices may start its processes, each of which runs this very program anew.

    Returns:
        What ``result.json`` holds; in other processes than the first, nothing.

    Raises:
        ValueError: If the settings, the data or the folder do not fit, nothing being written then, or another process
            is writing to the folder.
        DivergenceError: If the loss is not finite; the run stays as its last checkpoint left it. This, and whatever is
            raised once the fit has begun, stands in ``failure.json``.
        OutOfTime: If it has stopped because of ``until``.
    """
    folder, training = RunFolder(out), spec.training
    if training.is_spread and not spread:
        raise ValueError(
            f"--devices {training.devices}, --num-nodes {training.num_nodes}, --strategy {training.strategy}: several "
            "processes are started by `python -m inference fit` alone; leave them out"
        )
    if training.leads:
        folder.check(spec, resume=resume)
        done = folder.result()
        if done is not None:
            return done
    with training.ambience((folder.threads if training.leads else None) or threads):
        fabric = training.fabric(out, spread=True)
        prepared = prepare(spec, out, cache, fabric=fabric)
        if not training.leads:
            _fit(prepared, folder, resume=resume, progress=False, until=math.inf)
            return {}
        with folder.held():
            # Another process may have begun, or ended, in the meantime.
            folder.check(spec, resume=resume)
            done = folder.result()
            if done is not None:
                return done
            folder.start(spec, prepared.splits.fingerprints, **facts_of(prepared))
            with failure_kept(out, but=OutOfTime):
                history = _fit(prepared, folder, resume=resume, progress=progress, until=until)
                return finish(prepared, folder, history)


def evaluate_run(path: Path, *, data_root: Path | None = None) -> dict[str, Any]:
    """Recompute ``result.json`` of a finished run from its checkpoint.

    Args:
        path: Folder of the run.
        data_root: Where the data lie now, if not where they were.

    Returns:
        What ``result.json`` holds, the same as after the fit.

    Raises:
        ValueError: If the folder holds no run, or one that is not finished; files of another run, or images that are
            not those of the fit.
    """
    folder = RunFolder(path)
    spec = _moved(folder.spec(), data_root)
    folder.require_same_sources(spec)
    if not folder.checkpoint_file.exists():
        raise ValueError(f"{path} has no checkpoint yet; go on with `fit --resume`")
    with folder.held(), spec.training.ambience(folder.threads):
        prepared = prepare(spec, path)
        history = _restore(prepared, folder)
        if len(history) < spec.training.epochs:
            raise ValueError(
                f"{path} is at epoch {len(history)} of {spec.training.epochs}; go on with `fit --resume`"
            )
        folder.mend_metrics(history)
        prepared.program.to(prepared.fabric.device)
        return finish(prepared, folder, FitResult(history))


def load_run(
    path: Path, *, data_root: Path | None = None, cache: Path | None = None
) -> tuple[Bottleneck, Splits]:
    """Load the program of a run from its checkpoint, with the images to question it on.

    Args:
        path: Folder of the run.
        data_root: Where the data lie now, if not where they were.
        cache: See ``run``.

    Returns:
        The program in evaluation mode, on the device that its fit used, and the images, on the CPU.

    Raises:
        ValueError: If the folder holds no run, a checkpoint of another one, or images that are not those of the fit.
    """
    folder = RunFolder(path)
    spec = _moved(folder.spec(), data_root)
    folder.require_same_sources(spec)
    with spec.training.ambience(folder.threads):
        prepared = prepare(spec, path, cache)
    _restore(prepared, folder)
    return prepared.program.eval().to(prepared.fabric.device), prepared.splits


def _restore(prepared: Prepared, folder: RunFolder) -> list[dict[str, Any]]:
    """Put the parameters of a run's checkpoint into its program, if all is of the fit; return its history."""
    folder.require_same_images(prepared.spec, prepared.splits.fingerprints)
    differences = folder.differences_here(str(prepared.fabric.device))
    if differences:
        warnings.warn(
            f"{folder.path} was fitted elsewhere ({'; '.join(differences)}): numbers may differ in their last digits",
            stacklevel=3,
        )
    return restore_program(folder.checkpoint_file, prepared.program, stamp={"settings": folder.digest})


def _moved(spec: RunSpec, data_root: Path | None) -> RunSpec:
    return spec if data_root is None else spec.but(data_root=data_root)


def prepare(
    spec: RunSpec,
    out: Path,
    cache: Path | None = None,
    *,
    splits: Splits | None = None,
    fabric: Fabric | None = None,
) -> Prepared:
    """Make ready what a run needs; its program has fresh parameters from the ambient generator.

    Args:
        spec: The run.
        out: Its folder.
        cache: See ``run``.
        splits: Its images, if they are at hand.
        fabric: Its devices, if they are at hand; by default one of them.
    """
    splits = splits or spec.data.build(cache)
    train = splits.train
    program = spec.program.build(*_shapes(train)).to(spec.training.dtype)
    training = spec.training
    if training.steady_priors and not isinstance(program, Bottleneck):
        raise ValueError(
            "--steady-priors goes with a Bottleneck, whose learned priors are known by their names; leave it out"
        )
    check_data(
        program,
        train,
        batch_size=training.batch_size,
        processes=training.processes,
        drop_last=training.drop_last,
    )
    elbo, schedules = spec.objective.build(
        len(train),
        _sites(program, train),
        steps=training.steps(len(train)),
        default_beta=spec.task.beta,
    )
    return Prepared(spec, splits, program, elbo, schedules, fabric or spec.training.fabric(out))


def _shapes(data: Dataset) -> tuple[tuple[int, ...], int | None]:
    """The shape of an input, and the number of classes, if the data have labels."""
    if isinstance(data, LabelledImages):
        return data.image_shape, data.num_classes
    labels = data.y.dtype == torch.int64 and data.y.dim() == 1
    return tuple(data.x.shape[1:]), 1 + int(data.y.max()) if labels else None


def _sites(program: nn.Module, data: Dataset) -> list[str]:
    """Names of the latent sites; of a program that is no ``Bottleneck``, as a look at two samples shows them."""
    if isinstance(program, Bottleneck):
        return list(program.stochastic_layers)
    look = look_at(program, Placement(program)(Batch((data.x[:2], data.y[:2]), {})))
    return [name for name, site in look.guide_sites.items() if not site["is_observed"]]


def facts_of(prepared: Prepared) -> dict[str, Any]:
    """What follows from a run's settings and data, as ``config.json`` keeps it."""
    spec, splits = prepared.spec, prepared.splits
    beta, beta_paper = spec.betas(len(splits.train))
    return {
        "beta": beta,
        "beta_paper": beta_paper,
        "source": splits.source,
        "num_train": len(splits.train),
        "num_validation": len(splits.validation) if splits.validation is not None else 0,
        "num_test": len(splits.test),
        "num_parameters": sum(parameter.numel() for parameter in prepared.program.parameters()),
        "lr_drops": list(spec.training.lr_milestones),
        "device": str(prepared.fabric.device),
        "threads": torch.get_num_threads(),
    }


def _fit(prepared: Prepared, folder: RunFolder, *, resume: bool, progress: bool, until: float) -> FitResult:
    spec, splits, training = prepared.spec, prepared.splits, prepared.spec.training

    def on_epoch(history: list[dict[str, Any]]) -> None:
        if training.leads:
            folder.write_metrics(history)
        kept = len(history) % training.checkpoint_every == 0
        if kept and len(history) < training.epochs and time.time() > until:
            raise OutOfTime(f"{folder.path} has stopped after {len(history)} of {training.epochs} epochs")

    for name, data in own_sets(prepared).items():
        require_sound_set(prepared.program, data, prepared.elbo, name=name)
    beta, _ = spec.betas(len(splits.train))
    optimizer, scheduler = training.build(prepared.program, splits.train.x, beta=beta)
    return fit(
        prepared.program,
        splits.train,
        epochs=training.epochs,
        batch_size=training.batch_size,
        drop_last=training.drop_last,
        elbo=prepared.elbo,
        optimizer=optimizer,
        scheduler=scheduler,
        validation=held_out(prepared),
        fabric=prepared.fabric,
        order=torch.Generator().manual_seed(training.seed),
        transform=spec.task.transform,
        schedules=prepared.schedules,
        out=folder.checkpoint_file,
        # The others have the folder from the first one, which may not have made it yet.
        stamp={"settings": folder.digest} if training.leads else None,
        checkpoint_every=training.checkpoint_every,
        resume=resume,
        on_epoch=on_epoch,
        progress=progress,
        capture=training.capture,
    )


def own_sets(prepared: Prepared) -> dict[str, Dataset]:
    """Data of the user's own that are evaluated on after the fit, which comes to nothing if they are not sound."""
    spec = prepared.spec
    if not (spec.data.is_own or spec.data.is_folder):
        return {}
    return {"test": spec.task.observed(prepared.splits.test, seed=spec.data.data_seed)}


def held_out(prepared: Prepared) -> Dataset | None:
    """What is looked at after every epoch: held-out images, with what is observed of them."""
    spec, images = prepared.spec, prepared.splits.validation
    if images is None or not spec.evaluation.validate_every_epoch:
        return None
    return spec.task.observed(images, seed=spec.data.data_seed)


def finish(prepared: Prepared, folder: RunFolder, history: FitResult) -> dict[str, Any]:
    """Evaluate a fitted run, and write its result.

    Returns:
        What ``result.json`` holds.
    """
    spec, facts, last = prepared.spec, facts_of(prepared), history.rows[-1]
    names = ("beta", "beta_paper", "source", "num_train", "num_test", "num_parameters")
    result = {**spec.columns(), **{name: facts[name] for name in names}}
    result |= {"epochs": history.epochs, "seconds": history.seconds, "train_error": last.get("train_error")}
    result |= {"objective": spec.objective.describe(), **spec.objective.reached(prepared.elbo, last)}
    result |= spec.task.evaluate(
        prepared.program,
        prepared.splits,
        spec.evaluation,
        seed=spec.training.seed,
        data_seed=spec.data.data_seed,
    )
    # The total correlation is a property of the training set's batches; nothing is reported in its place.
    if not prepared.elbo.gamma:
        result["lagrangian"] = lagrangian(result, prepared.elbo.beta)
    folder.write_result(result)
    # As it is read again: what is not finite is null there.
    return folder.result() or result
