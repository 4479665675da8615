"""A fit as something to iterate over, an epoch at a time."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ib_pyro.batch_norm import has_batch_norm
from ib_pyro.buffers import buffers_kept
from ib_pyro.checks import require_gradients
from ib_pyro.data.cache import fingerprint
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.elbo.weights import Weight
from ib_pyro.handlers import warn_if_noise_is_off
from ib_pyro.training.batch_arguments import Batch, Placement, leaves_of
from ib_pyro.training.checkpoint import EARLIER, Checkpoint, Restored, State, checkpoint_path, load_checkpoint
from ib_pyro.training.data_checks import (
    FirstLook,
    check_columns,
    check_steps,
    look_at,
    transformed,
)
from ib_pyro.training.divergence import explained, require_finite_parameters
from ib_pyro.training.early_stopping import best_epoch, epochs_without_gain, outlasted, settled
from ib_pyro.training.finite_data import require_finite_loss
from ib_pyro.training.fit_description import describe_program
from ib_pyro.training.fit_options import FitOptions, require_schedules
from ib_pyro.training.fit_result import FitResult, Row
from ib_pyro.training.held_out import held_out_for, require_monitored
from ib_pyro.training.lagrangian import is_one_number, lagrangian, warming_up, weights_by_site
from ib_pyro.training.loop import TrainingLoop
from ib_pyro.training.objective_description import describe_objective
from ib_pyro.training.one_device import OneDevice
from ib_pyro.training.optimizers import optimizer_for, scheduler_for
from ib_pyro.training.processes import Processes
from ib_pyro.training.programs import as_program, model_and_guide
from ib_pyro.training.progress import FitProgress
from ib_pyro.training.randomness import seeded
from ib_pyro.training.sources import BATCH_SIZE, source_of
from ib_pyro.training.stateful_parts import stateful_parts
from ib_pyro.training.untrained_leaves import require_all_trained

__all__ = ["Trainer"]


class Trainer:
    """A fit that is gone through epoch by epoch: ``for row in Trainer(program, data, epochs=10): ...``.

    Between two epochs the program may be looked at, evaluated and saved; to leave the loop ends the fit.

    Args:
        program: As for :func:`ib_pyro.fit`.
        data: As for :func:`ib_pyro.fit`.
        **options: The other options of :func:`ib_pyro.fit`, but for ``on_epoch``.

    Attributes:
        program: The program as a module.
        rows: The metrics of the finished epochs, see :class:`FitResult`.

    Raises:
        ValueError: As :func:`ib_pyro.fit` does, before anything is fitted.

    >>> from torch import nn
    >>> from ib_pyro import Bottleneck
    >>> from ib_pyro.nn import InformationDropout
    >>> program = Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
    >>> data = torch.rand(20, 4), torch.randint(2, (20,))
    >>> trainer = Trainer(program, data, epochs=3, beta=0.1, progress=False)
    >>> [row["epoch"] for row in trainer], trainer.result.stopped
    ([1, 2, 3], 'all 3 epochs are done')
    """

    def __init__(self, program: object, data: object, **options: Any) -> None:
        require_gradients("fit")
        warn_if_noise_is_off("fit", stacklevel=3)
        own = self._options = FitOptions(**options)
        self._fabric = own.fabric or OneDevice()
        self._processes = Processes(self._fabric)
        self.program = as_program(program).to(self._fabric.device)
        self._described = describe_program(self.program)
        self.rows: list[Row] = []
        self._source = source_of(
            data,
            batch_size=own.batch_size,
            drop_last=own.drop_last,
            order=lambda: self._processes.same_order(own.order),
            device=self._fabric.device,
            processes=self._processes.place,
        )
        self._check_columns()
        self._elbo = own.elbo or InformationBottleneckELBO(beta=self._beta())
        self._described |= describe_objective(self._elbo)
        with seeded(0):
            require_finite_loss(self._source, self._loss)
        first = self._first_batch()
        look = self._look(first)
        self._schedules = dict(own.schedules or {})
        if own.warm_up:
            self._schedules["beta"] = warming_up(self._elbo.beta, own.warm_up)
        require_schedules(self._schedules, self._elbo)
        self._targets = {name: getattr(self._elbo, name) for name in self._schedules}
        self._check(look)
        self._optimizer = optimizer_for(self.program, own.optimizer, lr=own.lr)
        require_all_trained(self.program, first, elbo=self._elbo, optimizer=self._optimizer, also=own.also)
        del first
        self._scheduler = scheduler_for(own.scheduler, self._optimizer)
        self._held_out = held_out_for(
            self.program, own.validation, self._elbo, look, device=self._fabric.device
        )
        if own.patience is not None:
            require_monitored(own.monitor, self._elbo, look)
        self._loop = TrainingLoop(
            self.program,
            self._source,
            elbo=self._elbo,
            optimizer=self._optimizer,
            fabric=self._fabric,
            transform=own.transform,
            schedules=self._schedules,
            capture=own.capture,
            labels=look.labels,
            num_data=look.num_data,
        )
        self._loop.expect(own.epochs)
        self._checkpoint = self._build_checkpoint()
        self._best: State | None = None
        self._best_epoch = 0
        self._stopped, self._kept = "", 0
        self._begin()

    def __iter__(self) -> Generator[Row, None, None]:
        own, done = self._options, len(self.rows)
        bar = FitProgress(
            own.epochs,
            self._loop.steps or 1,
            done=done,
            enabled=own.progress and self._processes.leads,
        )
        try:
            with bar:
                while not self._reason():
                    yield self._epoch(bar)
            self._stopped = self._reason()
            self._keep_best()
            self._processes.share_buffers(self.program)
        except (GeneratorExit, KeyboardInterrupt):
            if self._checkpoint is not None and self._processes.leads:
                self._checkpoint.save_held()
            raise
        finally:
            self._stopped = self._stopped or f"it was left after epoch {len(self.rows)}"
            self._loop.close()
            self.program.eval()

    @property
    def result(self) -> FitResult:
        """What there is to say of the fit so far."""
        best = None if self._held_out is None else best_epoch(self.rows, self._monitored, self._counts)
        return FitResult(
            self.rows,
            self._loop.not_captured,
            stopped=self._stopped,
            best_epoch=best,
            kept_epoch=self._kept or len(self.rows),
        )

    @property
    def _monitored(self) -> str:
        return f"validation_{self._options.monitor}"

    def _counts(self, epoch: int) -> bool:
        return settled(epoch, self._loop.steps or 1, self._schedules, self._targets)

    def _reason(self) -> str:
        """Why there is no further epoch; empty if there is one."""
        own = self._options
        if len(self.rows) >= own.epochs:
            return f"all {own.epochs} epochs are done"
        if own.patience is None:
            return ""
        since = epochs_without_gain(self.rows, self._monitored, self._counts)
        if since < own.patience:
            return ""
        best = best_epoch(self.rows, self._monitored, self._counts)
        return f"{self._monitored} has not fallen for {since} epochs, since epoch {best}"

    def _epoch(self, bar: FitProgress) -> Row:
        finished = len(self.rows)
        known = self._source.steps is not None

        def report(step: int, metrics: dict[str, float]) -> None:
            bar.step(finished, step if known else 0, metrics)

        try:
            means = self._loop.epoch(finished, report)
            require_finite_parameters(self.program)
        except FloatingPointError as error:
            raise explained(error, finished + 1, self._data()) from error
        row = {"epoch": finished + 1, **means, **self._settings()}
        if self._schedules and is_one_number(self._target("beta")):
            row["lagrangian"] = lagrangian(row, self._target("beta"), self._target("gamma"))
        if self._scheduler is not None:
            self._scheduler.step()
        if self._held_out is not None:
            row |= self._processes.from_leader(self._held_out.means)
        row = self._processes.from_leader(lambda: row)
        self.rows.append(row)
        self._remember()
        self._fabric.log_dict({name: row[name] for name in row if name != "epoch"}, step=row["epoch"])
        bar.epoch(len(self.rows), row)
        return row

    def _data(self) -> list[Tensor]:
        """The tensors of the whole set, where they are at hand."""
        leaves = [] if self._source.whole is None else leaves_of(self._source.whole)
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    def _remember(self) -> None:
        """Keep the best parameters, and write a checkpoint where one is due."""
        own, epoch = self._options, len(self.rows)
        if own.patience is not None and best_epoch(self.rows, self._monitored, self._counts) == epoch:
            self._keep_as_best()
        is_due = epoch % own.checkpoint_every == 0 or bool(self._reason())
        if self._checkpoint is None:
            return
        ambient, leads = self._processes.ambient(), self._processes.leads
        best: dict[str, Any] = {"best": self._best, "best_of": (self._best_epoch, own.monitor)}
        if is_due:
            self._checkpoint.path.parent.mkdir(parents=True, exist_ok=True)
            self._checkpoint.save(self.rows, **best, ambient=ambient, write=leads)
        else:
            # Who interrupts the fit between two checkpoints loses no finished epoch.
            self._checkpoint.hold(self.rows, **best, ambient=ambient)

    def _keep_as_best(self) -> None:
        """Keep the program as it is, as that of the best epoch."""
        self._best = {name: value.clone() for name, value in self.program.state_dict().items()}
        self._best_epoch = len(self.rows)

    def _keep_best(self) -> None:
        self._kept = len(self.rows)
        if self._best is not None:
            self.program.load_state_dict(self._best)
            self._kept = self._best_epoch

    def _take_best(self, path: Path, restored: Restored) -> None:
        """Go on with the best epoch so far, as this fit finds it."""
        best = (
            None if self._options.patience is None else best_epoch(self.rows, self._monitored, self._counts)
        )
        if best is None:
            return
        if restored.best_epoch in (best, EARLIER):
            self._best, self._best_epoch = restored.best, best
        elif best == len(self.rows):
            self._keep_as_best()
        else:
            kept = f"that of epoch {restored.best_epoch} by monitor={restored.monitor!r} was"
            raise ValueError(
                f"checkpoint={path}: of its {len(self.rows)} epochs {best} is the best by monitor="
                f"{self._options.monitor!r}, and the program of that epoch was not kept ("
                f"{kept if restored.best_epoch else 'there was no patience='}); go on with patience= and monitor= as "
                "they were, or fit anew under another path"
            )

    def _begin(self) -> None:
        """Go on from a checkpoint, if there is one and that is asked for."""
        state, processes = self._checkpoint, self._processes
        if state is None or not processes.from_leader(state.path.exists):
            processes.draw_apart()
            return
        path, epochs = state.path, self._options.epochs
        if not self._options.resume:
            raise ValueError(f"checkpoint={path} exists; pass resume=True to go on from it, or another path")
        self._source.forget()
        content = (
            None
            if processes.place[0] == 1
            else processes.from_leader(lambda: load_checkpoint(path, stamp=self._options.stamp))
        )
        restored = state.restore(content, process=processes.place[1])
        self.rows = restored.history
        if len(self.rows) > epochs:
            raise ValueError(f"checkpoint={path} is at epoch {len(self.rows)}, beyond epochs={epochs}")
        self._take_best(path, restored)

    @property
    def _batch_size(self) -> int:
        return (self._options.batch_size or BATCH_SIZE) * self._processes.place[0]

    def _check_columns(self) -> None:
        whole = self._source.whole
        if whole is not None and not whole.kwargs and all(isinstance(part, Tensor) for part in whole.args):
            check_columns(
                self.program,
                whole.args,
                batch_size=self._batch_size,
                processes=self._processes.place[0],
                drop_last=self._options.drop_last,
            )

    def _loss(self, batch: Batch) -> Tensor:
        """The loss of some samples, but for their total correlation, which takes more of them."""
        placed, elbo = Placement(self.program), copy(self._elbo)
        elbo.gamma = 0.0
        seen = placed(transformed(placed(batch), self._options.transform))
        with torch.no_grad(), buffers_kept([self.program]):
            return elbo.differentiable_loss(*model_and_guide(self.program), *seen.args, **seen.kwargs)

    def _first_batch(self) -> Batch:
        """Return the first batch as a step sees it."""
        placed, first = Placement(self.program), self._source.first()
        with seeded(0):
            return placed(transformed(placed(first), self._options.transform))

    def _look(self, first: Batch) -> FirstLook:
        before = {id(parameter) for parameter in self.program.parameters()}
        look = look_at(self.program, first)
        made = [name for name, p in self.program.named_parameters() if id(p) not in before]
        if made and isinstance(self._options.optimizer, Optimizer):
            raise ValueError(
                f"optimizer: {', '.join(made)} were made when the program first ran, after the optimizer, which does "
                "not know them; pass a function of the parameters, such as partial(torch.optim.Adam, lr=1e-3)"
            )
        return look

    def _beta(self) -> Weight:
        if self._options.beta is not None:
            return self._options.beta
        if self._source.size is None:
            raise ValueError(
                "beta: by default it is 1 / N, and the number of samples N is not known of what makes its batches "
                "itself, by a batch_sampler too; pass beta=, the weight of the rate per sample"
            )
        return 1 / self._source.size

    def _check(self, look: FirstLook) -> None:
        own = self._options
        norms_apart = has_batch_norm(self.program) and not any(
            isinstance(module, nn.SyncBatchNorm) for module in self.program.modules()
        )
        if self._processes.place[0] > 1 and self._processes.leads and norms_apart:
            warnings.warn(
                f"batch norm normalises the {own.batch_size or BATCH_SIZE} samples of each of "
                f"{self._processes.place[0]} processes by themselves, and keeps the statistics of the first: the "
                "numbers are not those of one process with all of them. On CUDA "
                "torch.nn.SyncBatchNorm.convert_sync_batchnorm(program) has them normalised together",
                stacklevel=4,
            )
        check_steps(
            look,
            self._source,
            Placement(self.program),
            elbo=self._elbo,
            batch_size=self._batch_size,
            transform=own.transform,
        )
        if not self._schedules:
            return
        if self._source.steps is None:
            raise ValueError(
                "schedules: a weight moves with the share of an epoch that is done, and the number of batches in one "
                "is not known; give the data a __len__"
            )
        message = outlasted(own.epochs, self._source.steps, self._schedules, self._targets)
        if message is not None:
            warnings.warn(message, stacklevel=4)

    def _build_checkpoint(self) -> Checkpoint | None:
        own = self._options
        if own.out is None:
            return None
        path = checkpoint_path(own.out)
        settings: dict[str, str | int | float | None] = {
            "samples": self._source.size,
            "steps": self._source.steps,
            "batch_size": self._batch_size,
            "schedules": ", ".join(sorted(own.schedules or {})) or "none",
            "transform": own.transform is not None,
        }
        settings |= {"processes": self._processes.place[0], "warm_up": float(own.warm_up)}
        if self._source.whole is not None and not own.stamp:  # which says by itself what the fit is of
            settings["data"] = fingerprint(*leaves_of(self._source.whole))
        if self._held_out is not None:
            settings |= self._held_out.described(with_digest=not own.stamp)
        settings |= {"optimizer": type(self._optimizer).__name__, "elbo": f"{self._elbo!r:.200}"}
        generators = self._source.generators
        also = stateful_parts(self.program, self._elbo, self._fabric, own.also)
        return Checkpoint(
            path,
            self.program,
            self._optimizer,
            generators,
            self._scheduler,
            settings,
            also=also,
            stamp=own.stamp,
            described=self._described,
            objective=partial(describe_objective, self._elbo, self._targets),
        )

    def _target(self, name: str) -> Weight:
        weight: Weight = self._targets.get(name, getattr(self._elbo, name))
        return weight

    def _settings(self) -> Row:
        size = self._source.size or self._loop.size
        return weights_by_site(self._elbo.beta, size) | {"lr": float(self._optimizer.param_groups[0]["lr"])}
