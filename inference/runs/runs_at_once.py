"""Several runs on their way as one computation: fitted, kept while they go on, and finished one after the other."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from pathlib import Path
from typing import Any, NoReturn

import torch

from ib_pyro.elbo.weights import Weight
from ib_pyro.side_by_side import OptimizerSettings, SideBySideTraining, Streams, VectorizationError
from ib_pyro.side_by_side.measuring import require_held_out
from ib_pyro.side_by_side.runs_checkpoint import RunsCheckpoint
from ib_pyro.training.batch_arguments import Placement
from ib_pyro.training.checkpoint import Checkpoint
from ib_pyro.training.data_checks import check_steps, look_at, transformed
from ib_pyro.training.divergence import DivergenceError
from ib_pyro.training.early_stopping import outlasted
from ib_pyro.training.fit_result import FitResult
from ib_pyro.training.lagrangian import lagrangian
from ib_pyro.training.progress import FitProgress
from ib_pyro.training.randomness import seeded
from ib_pyro.training.sources import source_of
from inference.runs.failure import Failure, failure_kept, read_failure
from inference.runs.folder import RunFolder
from inference.runs.pool import Job, Outcome
from inference.runs.run import OutOfTime, Prepared, facts_of, finish, held_out, own_sets, prepare
from inference.runs.spec import RunSpec

__all__ = ["RunsAtOnce"]

Row = dict[str, Any]
HELD_OUT = ("loss", "distortion", "rate", "error")
# A state of many runs takes a while to write: so many seconds lie between two at least.
_SECONDS_BETWEEN_STATES = 1.0


class RunsAtOnce:
    """Runs of one network, made ready.

    Args:
        jobs: Runs, alike but for what may differ, each with a folder of its own.
        state: File that keeps the state of all of them while they go on.
        cache: See ``inference.runs.run.run``.
        threads: See there.
        compile: Whether to compile their steps.

    Raises:
        VectorizationError: If they cannot be fitted side by side, as far as their programs say.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        state: Path,
        *,
        cache: Path | None = None,
        threads: int | None = None,
        compile: bool = False,
    ) -> None:
        self._threads, self._compile = threads, compile
        self._specs = [spec for spec, _ in jobs]
        self._folders = [RunFolder(out) for _, out in jobs]
        self._state = state
        self._prepared: list[Prepared] = []
        states = []
        for spec, out in jobs:
            splits = self._prepared[0].splits if self._prepared else None
            # From here on a run's noise goes on where the building of its program has left the generator.
            with self._ambience(len(self._prepared)):
                self._prepared.append(prepare(spec, out, cache, splits=splits))
                on_gpu = self._prepared[-1].fabric.device.type == "cuda"
                states.append(torch.cuda.get_rng_state() if on_gpu else torch.get_rng_state())
        first = self._prepared[0]
        self._train = first.splits.train
        if first.spec.training.is_steadied(first.program):
            raise VectorizationError(
                "--steady-priors gives learned priors a learning rate of their own, and runs side by side have one "
                "each; leave it or --vectorize out"
            )
        for prepared in self._prepared:
            prepared.program.to(first.fabric.device)
        self._streams = Streams.seeded([s.training.seed for s in self._specs], first.fabric.device)
        self._streams.states = states
        self._targets = [deepcopy(prepared.elbo) for prepared in self._prepared]

    def run(self, *, progress: bool, until: float = math.inf) -> Iterator[tuple[Path, Outcome]]:
        """Fit all runs, then evaluate each.

        Args:
            progress: Whether to show a progress bar.
            until: See ``inference.runs.vectorized_sweep.run_side_by_side``.

        Yields:
            A folder and the run's result, or why there is none.

        Raises:
            OutOfTime: If they have stopped because of ``until``.
        """
        with self._ambience(0):
            histories, diverged = self._fit(progress, until)
        for k, spec in enumerate(self._specs):
            # Of all runs before the first is evaluated, which may take long: none is fitted again then.
            if spec.name not in diverged:
                with self._ambience(k):
                    self._keep(self._prepared[k], self._folders[k], histories[k])
        for k, spec in enumerate(self._specs):
            yield self._folders[k].path, self._outcome(k, histories[k], diverged.get(spec.name))

    def _outcome(self, k: int, history: list[Row], diverged: str | None) -> Outcome:
        folder = self._folders[k]
        try:
            with failure_kept(folder.path), self._ambience(k):
                if diverged is not None:
                    since = next(row["epoch"] for row in history if not math.isfinite(row["loss"]))
                    raise DivergenceError(diverged, epoch=since)
                return finish(self._prepared[k], folder, FitResult(history))
        except Exception as error:
            return read_failure(folder.path) or Failure.of(error, folder.path)

    def _ambience(self, k: int) -> AbstractContextManager[None]:
        # Sums round by the number of threads, so that runs that were stopped keep theirs.
        return self._specs[k].training.ambience(self._folders[k].threads or self._threads)

    def _fit(self, progress: bool, until: float) -> tuple[list[list[Row]], dict[str, str]]:
        how = self._specs[0].training
        training = self._training()
        training.expect(how.epochs)
        settings = {"epochs": how.epochs, "images": dict(self._prepared[0].splits.fingerprints)}
        kept = RunsCheckpoint(self._state, settings, every=_SECONDS_BETWEEN_STATES)
        try:
            rows = kept.restore(training)
            done = len(rows) // len(self._specs)
            with FitProgress(how.epochs, training.steps, done=done, enabled=progress) as bar:
                for finished in range(done, how.epochs):
                    new = self._epoch(training, finished)
                    self._start()
                    rows += new
                    last = finished + 1 == how.epochs
                    if last or (finished + 1) % how.checkpoint_every == 0:
                        over = not last and time.time() > until
                        kept.save(training, rows, last=last or over)
                        if over:
                            self._stop(rows, finished + 1)
                    seconds = new[0]["seconds"] * len(self._specs)
                    bar.epoch(finished + 1, {**new[0], "seconds": seconds})
        finally:
            training.close()
            for prepared, target in zip(self._prepared, self._targets, strict=True):
                for name in prepared.schedules:
                    setattr(prepared.elbo, name, getattr(target, name))
        histories = [rows[k :: len(self._specs)] for k in range(len(self._specs))]
        for folder, history in zip(self._folders, histories, strict=True):
            folder.write_metrics(history)
        return histories, training.diverged

    def _stop(self, rows: list[Row], epochs: int) -> NoReturn:
        for k, folder in enumerate(self._folders):
            folder.write_metrics(rows[k :: len(self._folders)])
        total = self._specs[0].training.epochs
        raise OutOfTime(f"{len(self._specs)} runs side by side have stopped after {epochs} of {total} epochs")

    def _training(self) -> SideBySideTraining:
        first, how = self._prepared[0], self._specs[0].training
        self._check()
        return SideBySideTraining(
            [prepared.program for prepared in self._prepared],
            [prepared.elbo for prepared in self._prepared],
            (self._train.x, self._train.y),
            names=[spec.name for spec in self._specs],
            streams=self._streams,
            orders=[torch.Generator().manual_seed(spec.training.seed) for spec in self._specs],
            optimizer=[_optimizer(spec) for spec in self._specs],
            batch_size=how.batch_size,
            transform=first.spec.task.transform,
            schedules=[prepared.schedules for prepared in self._prepared],
            replay=how.capture,
            compile=self._compile,
        )

    def _check(self) -> None:
        """Raise, or warn, where a fit alone does: of what programs do not take, and of weights that never arrive."""
        for prepared, folder in zip(self._prepared, self._folders, strict=True):
            if folder.config_file.exists():
                folder.require_same_images(prepared.spec, prepared.splits.fingerprints)
        first, how, transform = self._prepared[0], self._specs[0].training, self._specs[0].task.transform
        placement = Placement(first.program)
        source = source_of(self._train, batch_size=how.batch_size, device=first.fabric.device)
        with seeded(0):
            batch = placement(transformed(placement(source.first()), transform))
        look = look_at(first.program, batch)
        for prepared in self._prepared:
            options: dict[str, Any] = {"batch_size": how.batch_size, "transform": transform}
            check_steps(look, source, placement, elbo=prepared.elbo, **options)
        require_held_out(first.program, {"validation": held_out(first), **own_sets(first)}, None)
        for prepared, target in zip(self._prepared, self._targets, strict=True):
            targets = {name: getattr(target, name) for name in prepared.schedules}
            message = outlasted(how.epochs, source.steps or 1, prepared.schedules, targets)
            if message is not None:
                warnings.warn(f"run {prepared.spec.name}: {message}", stacklevel=2)
                return

    def _epoch(self, training: SideBySideTraining, finished: int) -> list[Row]:
        how = self._specs[0].training
        start = time.perf_counter()
        drops = sum(drop <= finished for drop in how.lr_milestones)
        training.optimizers.set_factor(how.lr_factor**drops)
        rows = training.epoch(finished)
        seconds = (time.perf_counter() - start) / len(rows)
        means = self._held_out_means(training)
        for k, row in enumerate(rows):
            prepared, target = self._prepared[k], self._targets[k]
            kept: Row = {"epoch": finished + 1, "seconds": seconds}
            kept |= {"train_error" if name == "error" else name: value for name, value in row.items()}
            kept |= _weights(prepared.elbo.beta, len(self._train)) | {"lr": training.optimizers.rates[k]}
            if prepared.schedules:
                kept["lagrangian"] = lagrangian(kept, target.beta, target.gamma)
            rows[k] = kept | means[k]
        return rows

    def _held_out_means(self, training: SideBySideTraining) -> list[Row]:
        data = held_out(self._prepared[0])
        if data is None:
            return [{} for _ in self._specs]
        # A total correlation is a property of batches, and other batches than the training set's have another.
        elbos = [deepcopy(target) for target in self._targets]
        for elbo in elbos:
            elbo.gamma = 0.0
        found = training.held_out_means(data.x, data.y, elbos)
        return [
            {f"validation_{name}": row[name] for name in HELD_OUT[bool(target.gamma) :] if name in row}
            for row, target in zip(found, self._targets, strict=True)
        ]

    def _start(self) -> None:
        """Let the folders say whose they are, once the first epoch has shown that the runs go side by side."""
        for prepared, folder in zip(self._prepared, self._folders, strict=True):
            if not folder.config_file.exists():
                folder.start(prepared.spec, prepared.splits.fingerprints, **facts_of(prepared))

    def _keep(self, prepared: Prepared, folder: RunFolder, history: list[Row]) -> None:
        """Write the checkpoint that evaluations read; there are no further steps for an optimiser's state."""
        spec = prepared.spec
        beta, _ = spec.betas(len(self._train))
        optimizer, scheduler = spec.training.build(prepared.program, self._train.x, beta=beta)
        order = torch.Generator().manual_seed(spec.training.seed)
        stamp = {"settings": folder.digest}
        Checkpoint(folder.checkpoint_file, prepared.program, optimizer, order, scheduler, stamp=stamp).save(
            history
        )


def _optimizer(spec: RunSpec) -> OptimizerSettings:
    how = spec.training
    return OptimizerSettings(
        name=how.optimizer or "sgd",
        lr=how.lr,
        momentum=how.momentum,
        nesterov=how.nesterov,
        weight_decay=how.weight_decay,
    )


def _weights(beta: Weight, num_train: int) -> Row:
    """Both units of beta as columns: one, or one for each site."""
    if isinstance(beta, Mapping):
        by_site = {f"/{site}": float(value) for site, value in beta.items()}
    else:
        by_site = {"": float(beta)}
    row: Row = {}
    for suffix, value in by_site.items():
        row |= {f"beta{suffix}": value, f"beta_paper{suffix}": value * num_train}
    return row
