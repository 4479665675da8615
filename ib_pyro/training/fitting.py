"""Fit a Pyro program to a data set, resumably."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.elbo.weights import Weight
from ib_pyro.training.checkpoint import Stateful
from ib_pyro.training.data_checks import Transform
from ib_pyro.training.fit_options import MakeOptimizer, MakeScheduler
from ib_pyro.training.fit_result import FitResult, Row
from ib_pyro.training.lagrangian import Schedule
from ib_pyro.training.one_device import OneDevice
from ib_pyro.training.stateful_parts import TrainedBeside
from ib_pyro.training.trainer import Trainer

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["fit"]


def fit(
    program: object,
    data: object,
    *,
    epochs: int,
    batch_size: int | None = None,
    drop_last: bool = False,
    beta: Weight | None = None,
    elbo: InformationBottleneckELBO | None = None,
    warm_up: float = 0.0,
    schedules: Mapping[str, Schedule] | None = None,
    optimizer: str | Optimizer | MakeOptimizer = "adam",
    lr: float | None = None,
    scheduler: LRScheduler | MakeScheduler | None = None,
    validation: object | None = None,
    patience: int | None = None,
    monitor: str = "loss",
    transform: Transform | None = None,
    order: torch.Generator | None = None,
    out: Path | str | None = None,
    checkpoint_every: int = 1,
    also: Mapping[str, Stateful] | None = None,
    stamp: Mapping[str, str] | None = None,
    resume: bool = False,
    on_epoch: Callable[[list[Row]], None] | None = None,
    fabric: Fabric | OneDevice | None = None,
    capture: str = "auto",
    progress: bool = True,
) -> FitResult:
    """Minimise the mean over the samples of ``-log p(y|z) + beta * rate`` in stochastic steps.

    The noise is drawn from PyTorch's ambient generator and the order of the samples from ``order``; nothing is
    seeded here. With both seeded, a resumed fit ends in the numbers of an uninterrupted one, bit by bit.

    Args:
        program: A :class:`ib_pyro.Bottleneck`, any module with ``model`` and ``guide``, or the pair
            ``(model, guide)``; fitted in place and left in evaluation mode, on the device of the fit.
        data: What model and guide are called with: tensors or arrays of one length as ``(x, y)`` or ``(x, group, y)``,
            a mapping of them by the arguments' names, an object with ``x`` and ``y``, a ``torch`` ``Dataset``; or what
            makes batches itself, a ``DataLoader`` or any iterable that can be gone through again. Numbers with
            fractions are brought into the type of the program's parameters.
        epochs: Length of the whole fit, including epochs before a resumption. Larger than that of a finished fit, it
            extends it.
        batch_size: Samples in a step, by default 100; the last, partial batch is kept unless ``drop_last``. Over
            several processes it is that of each. Not for what makes batches itself.
        drop_last: Whether to leave out the partial batch; other samples are left out in each epoch.
        beta: Weight of the rate, per sample and in nats, one or one for each site; by default 1 / N, which is the
            paper's beta of 1. N is the number of samples that are fitted, each counted once: of a ``DataLoader`` with
            a sampler those that it draws from, however often.
        elbo: The objective, if it is more than a beta.
        warm_up: Epochs in which beta grows from 0 to its value, in a straight line.
        schedules: Attributes of the objective that move, such as ``{"beta": schedule}``: each is set before every step
            to what its schedule returns for the number of finished epochs, a fraction. The value in ``elbo`` itself is
            the target: ``lagrangian`` is reported at it, and ``elbo`` has it again at the end.
        optimizer: ``"adam"`` or ``"sgd"``, an optimiser of the program's parameters, or a function that makes one of
            them, such as ``functools.partial(torch.optim.AdamW, lr=1e-3)``.
        lr: Learning rate of an optimiser by name; by default 0.003 for Adam and 0.07 for SGD, with momentum 0.9.
        scheduler: Schedule of the learning rate, or a function that makes one of the optimiser; stepped every epoch,
            without a number, as ``ReduceLROnPlateau`` would need.
        validation: Held-out data of any of these kinds, looked at after every epoch under one draw of noise.
        patience: Stop once so many epochs have brought no gain on the held-out data, and leave the program as the best
            of them had it. Epochs in which a weight is not at its target do not count, neither as the best nor as time
            that has passed. Where it, or another monitor, comes with a resumption only, and the best epoch so far was
            not kept, that is refused.
        monitor: What is to fall, of the held-out data: ``"loss"``, at the target weights, ``"distortion"`` or
            ``"error"``.
        transform: What a step sees of a batch: from its arguments to a tuple or a mapping of them, such as images
            binarised anew and themselves as what is observed. Held-out data are taken as they are.
        order: Generator that draws the order of the samples; by default one that PyTorch's ambient one seeds.
        out: File for a checkpoint of the fit, or a folder for it: one that is there, or a name without a suffix.
        checkpoint_every: Epochs between two checkpoints; the last epoch always has one.
        also: What else learns, to be kept in the checkpoint, by names: a critic, its optimiser.
        stamp: What the fit is of, such as digests of its settings and data, by name: a checkpoint of another is
            refused. Without one, data in memory are compared by a digest of their own.
        resume: Whether to go on from the checkpoint if there is one: of a fit of the same data, held out too, as far
            as they lie in memory, in batches of the same size, with the same modules, objective, optimiser and
            schedule, and their numbers.
        on_epoch: Called with the rows so far after every epoch, once its checkpoint is written, and with those
            restored.
        fabric: Devices, precision and loggers, a launched ``lightning.fabric.Fabric``; by default the best device that
            there is, in the types of the program's parameters.
        capture: Whether to replay steps from a recording of their tensor operations: ``"on"``, ``"off"``, or
            ``"auto"`` in fits of many steps, where the seconds of recording are won back, of programs that can be
            recorded.
        progress: Whether to show progress, on standard error.

    Returns:
        The history and what there is to say of it; the program holds the fit.

    Raises:
        TypeError: If program or data are of no kind that can be fitted; says what to pass.
        ValueError: If the set does not fit the program or the objective, or the checkpoint is not to be used.
        DivergenceError: If the loss or a parameter is not finite; a ``FloatingPointError`` that knows the site, the
            term, the value and the epoch. The last checkpoint stays.
        KeyboardInterrupt: As it comes; the last finished epoch has a checkpoint then.

    >>> from torch import nn
    >>> from ib_pyro import Bottleneck
    >>> from ib_pyro.nn import InformationDropout
    >>> program = Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
    >>> found = fit(
    ...     program,
    ...     (torch.rand(20, 4), torch.randint(2, (20,))),
    ...     beta=0.1,
    ...     epochs=2,
    ...     progress=False,
    ... )
    >>> list(found.history["epoch"]), found.stopped
    ([1, 2], 'all 2 epochs are done')
    """
    trainer = Trainer(
        program,
        data,
        epochs=epochs,
        batch_size=batch_size,
        drop_last=drop_last,
        beta=beta,
        elbo=elbo,
        warm_up=warm_up,
        schedules=schedules,
        optimizer=optimizer,
        lr=lr,
        scheduler=scheduler,
        validation=validation,
        patience=patience,
        monitor=monitor,
        transform=transform,
        order=order,
        out=out,
        checkpoint_every=checkpoint_every,
        also=also,
        stamp=stamp,
        resume=resume,
        fabric=fabric,
        capture=capture,
        progress=progress,
    )
    if on_epoch is not None and trainer.rows:
        on_epoch(trainer.rows)
    beside = TrainedBeside(elbo)
    with closing(iter(trainer)) as epochs_to_do:
        for _ in epochs_to_do:
            if on_epoch is not None:
                on_epoch(trainer.rows)
            beside.warn_if_idle(stacklevel=2)
    return trainer.result
