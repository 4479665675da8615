"""Fit a Pyro program to a data set, resumably."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.elbo.weights import Weight
from ib_pyro.training.batch_norm import has_batch_norm
from ib_pyro.training.checkpoint import Checkpoint, Stateful
from ib_pyro.training.data_checks import check_steps
from ib_pyro.training.data_placement import placed
from ib_pyro.training.dataset import Dataset
from ib_pyro.training.evaluation import noisy_error
from ib_pyro.training.lagrangian import Schedule, lagrangian
from ib_pyro.training.loop import TrainingLoop, Transform
from ib_pyro.training.one_device import OneDevice
from ib_pyro.training.optimizers import build_optimizer
from ib_pyro.training.progress import FitProgress
from ib_pyro.training.randomness import seeded
from ib_pyro.training.stateful_parts import stateful_parts

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["FitResult", "check_data", "fit"]

Row = dict[str, Any]


@dataclass(frozen=True)
class FitResult:
    """What a fit has to say: a row of metrics for each epoch.

    Each row has ``epoch`` (from 1), ``loss``, ``distortion``, ``rate``, ``rate/<site>`` and
    ``total_correlation/<site>`` in nats per sample, ``train_error`` and ``validation_error`` as shares where they
    exist, both under noise, ``beta`` (per sample, nats) and ``beta_paper`` (times the number of samples) at the
    epoch's last step, ``lr``, and ``seconds``. ``loss`` is what was minimised; where schedules move its weights,
    ``lagrangian`` is distortion, rate and total correlation at the target weights, unless
    those differ from sample to sample. ``not_captured`` says why steps were not replayed from a recording; None
    if they were.
    """

    history: list[Row] = field(default_factory=list)
    not_captured: str | None = None

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return len(self.history)

    @property
    def seconds(self) -> float:
        """Seconds spent in training steps, over all sessions of the run."""
        return sum(row["seconds"] for row in self.history)


def fit(
    program: nn.Module,
    train: Dataset,
    *,
    epochs: int,
    batch_size: int = 100,
    elbo: InformationBottleneckELBO | None = None,
    optimizer: Optimizer | None = None,
    scheduler: LRScheduler | None = None,
    validation: Dataset | None = None,
    fabric: Fabric | OneDevice | None = None,
    order: torch.Generator | None = None,
    transform: Transform | None = None,
    schedules: Mapping[str, Schedule] | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 1,
    also: Mapping[str, Stateful] | None = None,
    stamp: Mapping[str, str] | None = None,
    resume: bool = False,
    on_epoch: Callable[[list[Row]], None] | None = None,
    progress: bool = True,
    capture: str = "auto",
) -> FitResult:
    """Minimise the mean over the samples of ``-log p(y|z) + beta * rate`` in stochastic steps.

    The noise is drawn from PyTorch's ambient generator and the order of the samples from ``order``; nothing is
    seeded here. With both seeded, a resumed fit ends in the numbers of an uninterrupted one, bit by bit.

    Args:
        program: A ``ib_pyro.Bottleneck``, or any module with ``model(x, y)`` and ``guide(x, y)``; fitted in place and
            left in evaluation mode.
        train: Training set, or any object with tensors ``x`` and ``y``.
        epochs: Length of the whole fit, including epochs before a resumption.
        batch_size: Samples in a step.
        elbo: The objective; by default ``InformationBottleneckELBO(beta=1 / N)``, which is the paper's beta of 1.
        optimizer: Optimiser of the program's parameters; by default SGD, learning rate 0.07 and momentum 0.9.
        scheduler: Schedule of the learning rate, stepped after every epoch.
        validation: Held-out set for ``validation_error``.
        fabric: Device, precision and loggers, which get every row under its epoch; by default the best device there
            is, one of it, the types of the program's parameters, and no logger.
        order: Generator that draws the order of the samples; by default one that PyTorch's ambient one seeds.
        transform: What a step sees of a batch x, y, such as images binarised anew and themselves as what is observed.
        schedules: Attributes of the objective that move, such as ``{"beta": schedule}``: each is set before every step
            to what its schedule returns for the number of finished epochs, a fraction. The value in ``elbo`` itself is
            the target: ``lagrangian`` is reported at it, and ``elbo`` has it again at the end.
        checkpoint: File to keep the state in.
        checkpoint_every: Epochs between two checkpoints; the last epoch always has one.
        also: What else learns, to be kept in the checkpoint, by names: a critic, its optimiser.
        stamp: What the fit is of, such as a digest of its settings, by name: a checkpoint of another is refused.
        resume: Whether to go on from ``checkpoint`` if it exists.
        on_epoch: Called with the history after every epoch, once its checkpoint is written, and with a restored one.
        progress: Whether to show a progress bar.
        capture: Whether to replay steps from a recording of their tensor operations (see ``TrainingLoop``); ``"auto"``
            does so in fits of many steps, where the seconds of recording are won back.

    Returns:
        The history; the program holds the fit.

    Raises:
        ValueError: If the set does not fit the program or the objective (see ``check_data`` and ``check_steps``), or
            the checkpoint is not to be used.
        FloatingPointError: If the loss is not finite; it names the site, the values and the epoch. The last
            checkpoint stays.
        KeyboardInterrupt: As it comes; the last finished epoch has a checkpoint then.
    """
    fabric = fabric or OneDevice()
    order = order or torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    elbo = elbo or InformationBottleneckELBO(beta=1 / max(1, len(train.x)))
    optimizer = optimizer or build_optimizer("sgd", program.parameters(), lr=0.07)
    check_data(program, train, batch_size=batch_size)
    check_steps(program, train.x, train.y, elbo=elbo, batch_size=batch_size, transform=transform)
    loop = TrainingLoop(
        program,
        train.x,
        train.y,
        elbo=elbo,
        optimizer=optimizer,
        batch_size=batch_size,
        order=order,
        fabric=fabric,
        transform=transform,
        schedules=schedules,
        capture=capture,
    )
    loop.expect(epochs)
    beta, gamma = elbo.beta, elbo.gamma
    state = None
    if checkpoint:
        parts = stateful_parts(program, elbo, fabric, also)
        state = Checkpoint(checkpoint, program, optimizer, order, scheduler, also=parts, stamp=stamp)
    try:
        history = _begin(state, epochs, resume=resume)
        if on_epoch is not None and history:
            on_epoch(history)
        with FitProgress(epochs, loop.steps, done=len(history), enabled=progress) as bar:
            while len(history) < epochs:
                row = _epoch(loop, len(history), bar)
                row |= _settings(elbo, optimizer, len(train.x))
                if schedules and not _differs_by_sample(beta):
                    row["lagrangian"] = lagrangian(row, beta, gamma)
                if scheduler is not None:
                    scheduler.step()
                if validation is not None and "train_error" in row:
                    row["validation_error"] = noisy_error(program, validation)
                history.append(row)
                fabric.log_dict(_measured(row), step=row["epoch"])
                if state and (len(history) % checkpoint_every == 0 or len(history) == epochs):
                    state.save(history)
                elif state:
                    state.hold(history)
                if on_epoch is not None:
                    on_epoch(history)
                bar.epoch(len(history), row)
    except KeyboardInterrupt:
        if state:
            state.save_held()
        raise
    finally:
        loop.close()
        program.eval()
    return FitResult(history, loop.not_captured)


def _begin(state: Checkpoint | None, epochs: int, *, resume: bool) -> list[Row]:
    if state is None or not state.path.exists():
        return []
    if not resume:
        raise ValueError(
            f"checkpoint={state.path} exists; pass resume=True to go on from it, or another path"
        )
    history = state.restore()
    if len(history) > epochs:
        raise ValueError(f"checkpoint={state.path} is at epoch {len(history)}, beyond epochs={epochs}")
    return history


def _epoch(loop: TrainingLoop, finished: int, bar: FitProgress) -> Row:
    try:
        means = loop.epoch(finished, lambda step, metrics: bar.step(finished, step, metrics))
    except FloatingPointError as error:
        raise FloatingPointError(
            f"epoch {finished + 1}: {error}; a smaller learning rate may help"
        ) from error
    return {"epoch": finished + 1, **means}


def _settings(elbo: InformationBottleneckELBO, optimizer: Optimizer, num_train: int) -> Row:
    weights = elbo.beta if isinstance(elbo.beta, Mapping) else {"": elbo.beta}
    row: Row = {}
    for site, weight in weights.items():
        if _differs_by_sample(weight):
            continue  # it has no place in a row an epoch
        suffix = f"/{site}" if site else ""
        row |= {f"beta{suffix}": float(weight), f"beta_paper{suffix}": float(weight) * num_train}
    return row | {"lr": float(optimizer.param_groups[0]["lr"])}


def _measured(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "epoch" and value is not None}


def _differs_by_sample(beta: Weight) -> bool:
    weights = beta.values() if isinstance(beta, Mapping) else [beta]
    return any(isinstance(weight, Tensor) and weight.numel() > 1 for weight in weights)


def check_data(program: nn.Module, data: Dataset, *, batch_size: int) -> None:
    """Make sure that a program can be fitted to a set, at the price of one small batch.

    Args:
        program: The program; its parameters and statistics stay as they are.
        data: The set.
        batch_size: Samples in a step.

    Raises:
        ValueError: If the set is empty or its parts differ in length, a batch cannot be normalised, the inputs do
            not fit the network, or labels are out of its range.
    """
    size = len(data.x)
    if size == 0 or len(data.y) != size:
        raise ValueError(f"the set has {size} inputs x and {len(data.y)} labels y; it needs as many of each")
    if has_batch_norm(program) and (size % batch_size == 1 or batch_size == 1):
        raise ValueError(
            f"batch_size={batch_size} leaves a batch of a single sample out of {size}, which batch norm cannot "
            "normalise; choose another size"
        )
    if getattr(program, "likelihood", None) == "categorical":
        _check_labels(program, data)


@torch.no_grad()
def _check_labels(program: nn.Module, data: Dataset) -> None:
    training = program.training
    with seeded(0):
        predict: Callable[..., Tensor] = program.eval().predict  # type: ignore[assignment]
        probabilities = predict(placed(data.x[:2], program), num_samples=1)
    program.train(training)
    classes, low, high = probabilities.shape[-1], int(data.y.min()), int(data.y.max())
    if low < 0 or high >= classes:
        raise ValueError(f"labels y go from {low} to {high}; the program has the classes 0 to {classes - 1}")
