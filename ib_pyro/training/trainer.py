"""A fit as something to iterate over, an epoch at a time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator, Mapping
from copy import copy, deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ib_pyro.batch_norm import has_batch_norm
from ib_pyro.buffers import buffers_kept
from ib_pyro.checks import require_count
from ib_pyro.choices import require_known
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.elbo.schedules import linear_warm_up
from ib_pyro.elbo.weights import Weight
from ib_pyro.training.batch_arguments import Batch, Placement, leaves_of
from ib_pyro.training.checkpoint import Checkpoint, State, Stateful, load_checkpoint
from ib_pyro.training.data_checks import (
    FirstLook,
    Transform,
    check_columns,
    check_steps,
    look_at,
    transformed,
)
from ib_pyro.training.divergence import explained, require_finite_parameters
from ib_pyro.training.early_stopping import MONITORS, best_epoch, epochs_without_gain, outlasted, settled
from ib_pyro.training.finite_data import require_finite_loss
from ib_pyro.training.fit_result import FitResult, Row
from ib_pyro.training.held_out import HeldOut
from ib_pyro.training.lagrangian import Schedule, lagrangian
from ib_pyro.training.loop import TrainingLoop
from ib_pyro.training.one_device import OneDevice
from ib_pyro.training.optimizers import build_optimizer
from ib_pyro.training.processes import Processes
from ib_pyro.training.programs import as_program, model_and_guide
from ib_pyro.training.progress import FitProgress
from ib_pyro.training.randomness import seeded
from ib_pyro.training.sources import BATCH_SIZE, source_of
from ib_pyro.training.stateful_parts import stateful_parts

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["FitOptions", "Trainer"]

HELD_OUT_BATCH_SIZE = 1000
CHECKPOINT = "checkpoint.pt"

MakeOptimizer = Callable[[Any], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler]


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """The options of a fit, as :func:`ib_pyro.fit` explains them."""

    epochs: int
    batch_size: int | None = None
    beta: Weight | None = None
    elbo: InformationBottleneckELBO | None = None
    warm_up: float = 0.0
    schedules: Mapping[str, Schedule] | None = None
    optimizer: str | Optimizer | MakeOptimizer = "adam"
    lr: float | None = None
    scheduler: LRScheduler | MakeScheduler | None = None
    validation: object | None = None
    patience: int | None = None
    monitor: str = "loss"
    transform: Transform | None = None
    order: torch.Generator | None = None
    out: Path | str | None = None
    checkpoint_every: int = 1
    also: Mapping[str, Stateful] | None = None
    stamp: Mapping[str, str] | None = None
    resume: bool = False
    fabric: Fabric | OneDevice | None = None
    capture: str = "auto"
    progress: bool = True

    def __post_init__(self) -> None:
        for name in ("epochs", "checkpoint_every", "batch_size", "patience"):
            if getattr(self, name) is not None:
                require_count(name, getattr(self, name))
        require_known("monitor", self.monitor, MONITORS)
        if self.patience is not None and self.validation is None:
            raise ValueError(
                f"patience={self.patience} waits for a gain on held-out data; pass them as validation="
            )
        if self.beta is not None and self.elbo is not None:
            raise ValueError(
                f"beta={self.beta!r} and elbo={self.elbo!r} both weigh the rate; pass one of them"
            )
        if not 0 <= self.warm_up < math.inf:
            raise ValueError(f"warm_up must be a finite number of epochs, at least 0; got {self.warm_up}")
        if self.warm_up and "beta" in (self.schedules or {}):
            raise ValueError("warm_up and schedules['beta'] both move beta; pass one of them")
        if self.lr is not None and not isinstance(self.optimizer, str):
            raise ValueError(
                f"lr={self.lr} goes with an optimizer by name; give it to the {type(self.optimizer).__name__} itself"
            )
        if self.resume and self.out is None:
            raise ValueError("resume=True goes on from a checkpoint; pass out=, where it is")


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
        own = self._options = FitOptions(**options)
        self._fabric = own.fabric or OneDevice()
        self._processes = Processes(self._fabric)
        self.program = as_program(program).to(self._fabric.device)
        self.rows: list[Row] = []
        self._source = source_of(
            data,
            batch_size=own.batch_size,
            order=lambda: self._processes.same_order(own.order),
            device=self._fabric.device,
            processes=self._processes.place,
        )
        self._check_columns()
        self._elbo = own.elbo or InformationBottleneckELBO(beta=self._beta())
        with seeded(0):
            require_finite_loss(self._source, self._loss)
        look = self._look()
        self._schedules = dict(own.schedules or {})
        if own.warm_up:
            self._schedules["beta"] = _warm_up(self._elbo.beta, own.warm_up)
        _require_schedules(self._schedules, self._elbo)
        self._targets = {name: getattr(self._elbo, name) for name in self._schedules}
        self._check(look)
        self._optimizer = self._build_optimizer()
        self._scheduler = own.scheduler(self._optimizer) if callable(own.scheduler) else own.scheduler
        self._held_out = self._build_held_out(look)
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
        row = {"epoch": finished + 1, **means, **self._weights()}
        if self._schedules and not any(map(_differs_by_sample, _parts(self._target("beta")))):
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
            self._best = {name: value.clone() for name, value in self.program.state_dict().items()}
        is_due = epoch % own.checkpoint_every == 0 or bool(self._reason())
        if self._checkpoint is None:
            return
        ambient, leads = self._processes.ambient(), self._processes.leads
        if is_due:
            self._checkpoint.path.parent.mkdir(parents=True, exist_ok=True)
            self._checkpoint.save(self.rows, best=self._best, ambient=ambient, write=leads)
        else:
            # Who interrupts the fit between two checkpoints loses no finished epoch.
            self._checkpoint.hold(self.rows, best=self._best, ambient=ambient)

    def _keep_best(self) -> None:
        self._kept = len(self.rows)
        if self._best is not None:
            self.program.load_state_dict(self._best)
            self._kept = best_epoch(self.rows, self._monitored, self._counts) or self._kept

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
        self.rows, self._best = state.restore(content, process=processes.place[1])
        if len(self.rows) > epochs:
            raise ValueError(f"checkpoint={path} is at epoch {len(self.rows)}, beyond epochs={epochs}")

    @property
    def _batch_size(self) -> int:
        return (self._options.batch_size or BATCH_SIZE) * self._processes.place[0]

    def _check_columns(self) -> None:
        whole = self._source.whole
        if whole is not None and not whole.kwargs and all(isinstance(part, Tensor) for part in whole.args):
            check_columns(
                self.program, whole.args, batch_size=self._batch_size, processes=self._processes.place[0]
            )

    def _loss(self, batch: Batch) -> Tensor:
        """The loss of some samples, but for their total correlation, which takes more of them."""
        placed, elbo = Placement(self.program), copy(self._elbo)
        elbo.gamma = 0.0
        seen = placed(transformed(placed(batch), self._options.transform))
        with torch.no_grad(), buffers_kept([self.program]):
            return elbo.differentiable_loss(*model_and_guide(self.program), *seen.args, **seen.kwargs)

    def _look(self) -> FirstLook:
        placed = Placement(self.program)
        before = {id(parameter) for parameter in self.program.parameters()}
        first = self._source.first()
        with seeded(0):
            first = placed(transformed(placed(first), self._options.transform))
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
                "itself; pass beta=, the weight of the rate per sample"
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

    def _build_optimizer(self) -> Optimizer:
        own = self._options
        parameters = [p for p in self.program.parameters() if p.requires_grad]
        if isinstance(own.optimizer, Optimizer):
            held = {id(p) for group in own.optimizer.param_groups for p in group["params"]}
            if not held & {id(p) for p in parameters}:
                raise ValueError(
                    "optimizer: none of its parameters is the program's; make it of program.parameters()"
                )
            return own.optimizer
        if not parameters:
            raise ValueError(f"program: a {type(self.program).__name__} has no parameter to fit")
        if callable(own.optimizer):
            return own.optimizer(parameters)
        lr = {"adam": 3e-3, "sgd": 0.07}.get(own.optimizer, 0.0) if own.lr is None else own.lr
        return build_optimizer(own.optimizer, parameters, lr=lr)

    def _build_held_out(self, look: FirstLook) -> HeldOut | None:
        own = self._options
        if own.validation is None:
            return None
        if own.patience is not None and own.monitor == "loss" and self._elbo.gamma:
            raise ValueError(
                "patience: with gamma the loss has a total correlation, which held-out batches of another size do not "
                "share; monitor='distortion' or 'error'"
            )
        source = source_of(
            own.validation,
            device=self._fabric.device,
            default=HELD_OUT_BATCH_SIZE,
            name="validation",
        )
        held_out = HeldOut(self.program, source, self._elbo, look)
        if own.patience is not None and own.monitor == "error" and look.labels is None:
            raise ValueError("monitor='error': what the program observes is no class label; monitor 'loss'")
        return held_out

    def _build_checkpoint(self) -> Checkpoint | None:
        own = self._options
        if own.out is None:
            return None
        path = Path(own.out)
        path = path if path.suffix else path / CHECKPOINT
        settings: dict[str, str | int | float | None] = {
            "size": self._source.size,
            "steps": self._source.steps,
        }
        settings |= {"processes": self._processes.place[0]}
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
        )

    def _target(self, name: str) -> Weight:
        weight: Weight = self._targets.get(name, getattr(self._elbo, name))
        return weight

    def _weights(self) -> Row:
        weights = self._elbo.beta if isinstance(self._elbo.beta, Mapping) else {"": self._elbo.beta}
        size, row = self._source.size or self._loop.size, Row()
        for site, weight in weights.items():
            if _differs_by_sample(weight):
                continue  # it has no place in a row an epoch
            suffix = f"/{site}" if site else ""
            row |= {f"beta{suffix}": float(weight), f"beta_paper{suffix}": float(weight) * size}
        return row | {"lr": float(self._optimizer.param_groups[0]["lr"])}


def _require_schedules(schedules: Mapping[str, Schedule], elbo: InformationBottleneckELBO) -> None:
    """Raise unless each schedule is a function, and of an attribute that the objective has."""
    for name, schedule in schedules.items():
        if not hasattr(elbo, name):
            raise ValueError(
                f"schedules[{name!r}]: {type(elbo).__name__} has no {name} to move; beta, gamma and a target of its "
                "penalty can be, and the learning rate by scheduler="
            )
        if not callable(schedule):
            raise TypeError(
                f"schedules[{name!r}] is {schedule!r}; pass a function from the finished epochs, a fraction, "
                "to its value"
            )


def _parts(weight: Weight) -> list[float | Tensor]:
    return list(weight.values()) if isinstance(weight, Mapping) else [weight]


def _differs_by_sample(weight: float | Tensor) -> bool:
    return isinstance(weight, Tensor) and weight.numel() > 1


def _warm_up(target: Weight, length: float) -> Schedule:
    """Return beta's way from 0 to its target, in a straight line."""
    target = deepcopy(target)

    def share(epoch: float) -> float:
        return linear_warm_up(epoch, target=1.0, warm_up=length)

    if isinstance(target, Mapping):
        return lambda epoch: {site: share(epoch) * part for site, part in target.items()}
    return lambda epoch: share(epoch) * target
