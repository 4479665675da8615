"""Runs of one network that differ in beta, seed or learning rate, fitted as one computation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ib_pyro.side_by_side import Run, train_side_by_side
from ib_pyro.training.checkpoint import Checkpoint
from ib_pyro.training.fit_result import FitResult
from ib_pyro.training.optimizers import build_optimizer
from inference.runs.folder import RunFolder
from inference.runs.pool import Job
from inference.runs.run import Prepared, facts_of, finish, prepare
from inference.runs.settings import flag
from inference.runs.spec import RunSpec
from inference.runs.splits import Splits

__all__ = ["run_side_by_side"]

# What a run may differ in, and what the runs side by side do not do: settings by name, with the value they need.
OWN = {"beta", "beta_paper", "seed", "lr"}
NEEDED = {
    "beta_factors": None,
    "beta_schedule": "constant",
    "capacity": None,
    "devices": 1,
    "free_nats": None,
    "gamma": 0.0,
    "num_nodes": 1,
    "steady_priors": False,
    "strategy": "auto",
    "tensorboard": False,
}
PRECISIONS = ("32-true", "64-true")


def run_side_by_side(jobs: Sequence[Job]) -> list[tuple[Path, dict[str, Any]]]:
    """Fit what is not done yet as one computation, evaluate each, and keep each in its folder.

    Nothing is kept of runs before all are fitted: a sweep that is interrupted begins anew.

    Args:
        jobs: Runs, each with a folder of its own.

    Returns:
        Each folder, with what its ``result.json`` holds; the same as of the run alone, to rounding.

    Raises:
        ValueError: If a folder holds another run, or the runs differ in what is one for all.
        CaptureError: If the program cannot be trained side by side.
    """
    folders = [RunFolder(out) for _, out in jobs]
    for (spec, _), folder in zip(jobs, folders, strict=True):
        folder.check(spec, resume=True)
    waiting = [job for job, folder in zip(jobs, folders, strict=True) if folder.result() is None]
    if waiting:
        _require_alike([spec for spec, _ in waiting])
        _fit(waiting)
    return [(folder.path, folder.result() or {}) for folder in folders]


def _fit(jobs: Sequence[Job]) -> None:
    first = jobs[0][0]
    training, splits = first.training, first.data.build(None)
    runs = [_run_of(spec, out, splits) for spec, out in jobs]
    with training.ambience():
        prepared = prepare(first, jobs[0][1], splits=splits)

    def make_program() -> nn.Module:
        program = first.program.build(splits.train.image_shape, splits.train.num_classes).to(training.dtype)
        return program.to(prepared.fabric.device)

    start = time.perf_counter()
    with training.ambience():
        found = train_side_by_side(
            make_program,
            (splits.train.x.to(training.dtype), splits.train.y),
            runs,
            epochs=training.epochs,
            batch_size=training.batch_size,
            optimizer=training.optimizer or "sgd",
            momentum=training.momentum,
            nesterov=training.nesterov,
            weight_decay=training.weight_decay,
            lr_milestones=training.lr_milestones,
            lr_factor=training.lr_factor,
            transform=first.task.transform,
            capture=training.capture != "off",
        )
    seconds = (time.perf_counter() - start) / (len(jobs) * training.epochs)
    for (spec, out), run, program in zip(jobs, runs, found.programs.values(), strict=True):
        rows = found.history[found.history["run"] == run.name].drop(columns="run").to_dict("records")
        _keep(spec, out, program, splits, [_row(row, spec, splits, seconds) for row in rows])


def _keep(
    spec: RunSpec, out: Path, program: nn.Module, splits: Splits, history: list[dict[str, Any]]
) -> None:
    """Write a fitted run as ``inference.runs.run.run`` does."""
    folder, training = RunFolder(out), spec.training
    with training.ambience():
        own = prepare(spec, out, splits=splits)
        prepared = Prepared(spec, splits, program, own.elbo, own.schedules, own.fabric)  # type: ignore[arg-type]
        folder.start(spec, **facts_of(prepared))
        folder.write_metrics(history)
        optimizer = build_optimizer(training.optimizer or "sgd", program.parameters(), lr=training.lr or 0.07)
        order = torch.Generator().manual_seed(training.seed)
        Checkpoint(folder.checkpoint_file, program, optimizer, order).save(history)
        finish(prepared, folder, FitResult(history))


def _run_of(spec: RunSpec, out: Path, splits: Splits) -> Run:
    beta, _ = spec.betas(len(splits.train))
    return Run(beta=beta, seed=spec.training.seed, lr=spec.training.lr, name=str(out))


def _row(row: dict[str, Any], spec: RunSpec, splits: Splits, seconds: float) -> dict[str, Any]:
    beta, beta_paper = spec.betas(len(splits.train))
    lr = row.pop("lr")
    return {**row, "beta": beta, "beta_paper": beta_paper, "lr": lr, "seconds": seconds}


def _require_alike(specs: Sequence[RunSpec]) -> None:
    first = specs[0].settings()
    for spec in specs:
        settings = spec.settings()
        for name, value in settings.items():
            if name not in OWN and value != first[name]:
                raise ValueError(
                    f"{flag(name)} is one for all runs side by side; got {first[name]} and {value}"
                )
        for name, value in NEEDED.items():
            if settings[name] != value:
                raise ValueError(
                    f"{flag(name)} {settings[name]} has no runs side by side; leave out --vectorize, which fits them "
                    "one by one"
                )
        if spec.training.precision not in PRECISIONS:
            raise ValueError(
                f"--precision {spec.training.precision} has no runs side by side; use {' or '.join(PRECISIONS)}, or "
                "leave out --vectorize"
            )
