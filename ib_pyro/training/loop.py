"""One pass over the training set, on the devices of ``lightning.fabric`` or on one without it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import pyro
from torch import Tensor, nn
from torch.optim import Optimizer

from ib_pyro.capture import CaptureError
from ib_pyro.choices import require_known
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.training.batch_arguments import Batch, Placement
from ib_pyro.training.data_checks import Transform, transformed
from ib_pyro.training.divergence import refused
from ib_pyro.training.lagrangian import Schedule
from ib_pyro.training.objective import Objective
from ib_pyro.training.one_device import OneDevice, precision_of
from ib_pyro.training.progress import Ticker
from ib_pyro.training.sources import Source
from ib_pyro.vector_math import page_in_special_cases

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["CAPTURE", "TrainingLoop"]

CAPTURE = ("auto", "off", "on")
# A recording costs half a second, as much as a thousand steps of a small network win by it.
LEAST_STEPS = 1000

# Reading a number off the device stalls the steps behind it, so the loop looks up this often only.
_SECONDS_BETWEEN_LOOKS = 0.2

Report = Callable[[int, dict[str, float]], None]


class TrainingLoop:
    """Steps of an optimiser on the mean Lagrangian of batches.

    Args:
        program: Module with ``model`` and ``guide``; it is moved to the device.
        source: The batches.
        elbo: The objective.
        optimizer: Optimiser of the program's parameters.
        fabric: Device and precision.
        transform: What a step sees of a batch; random draws come from the ambient generator.
        schedules: Attributes of the objective, such as beta, as functions of the number of finished epochs.
        capture: Whether to replay steps from a recording of their tensor operations, under the same seed with the same
            numbers and without their Python: ``"on"``, ``"off"``, or ``"auto"`` for programs that can be recorded.
        labels: Which argument holds class labels, counted over all leaves; None for none.
        num_data: Size of the set that a batch is a subsample of; None if a batch stands for itself.

    Attributes:
        steps: Number of steps in an epoch; None if that is not known.
        size: Number of samples in the last epoch.
        not_captured: Why steps are not replayed; None if they are, or are still to be tried.
    """

    def __init__(
        self,
        program: nn.Module,
        source: Source,
        *,
        elbo: InformationBottleneckELBO,
        optimizer: Optimizer,
        fabric: Fabric | OneDevice,
        transform: Transform | None = None,
        schedules: Mapping[str, Schedule] | None = None,
        capture: str = "off",
        labels: int | None = -1,
        num_data: int | None = None,
    ) -> None:
        require_known("capture", capture, CAPTURE)
        page_in_special_cases()
        self._fabric, self._capture = fabric, capture
        self.not_captured = _why_not(fabric, program) if capture != "off" else "capture is off"
        if capture == "on" and self.not_captured:
            raise CaptureError(f"steps cannot be captured: {self.not_captured}")
        self._schedules = dict(schedules or {})
        self._targets = {name: getattr(elbo, name) for name in self._schedules}
        self._transform, self._source = transform, source
        self._core = Objective(program, elbo, labels=labels, num_data=num_data)
        self._objective: nn.Module
        self._optimizer: Optimizer
        self._objective, self._optimizer = fabric.setup(self._core, optimizer)
        if _changes_nothing(fabric):
            # Fabric's wrapper around a forward pass takes a tenth of a small network's step for it.
            self._objective = self._core
        self._placed = Placement(program)
        self.steps, self.size = source.steps, source.size or 0
        # Of what is not in memory nothing has been looked at: its first epoch has Pyro's checks.
        self._unseen = source.whole is None
        self._has_passed = False

    def expect(self, epochs: int) -> None:
        """Say how many epochs there will be: where capture is up to the loop, it does not pay for a few steps."""
        if self._capture != "auto" or self.not_captured is not None or self.steps is None:
            return
        if epochs * self.steps < LEAST_STEPS:
            self.not_captured = f"{epochs * self.steps} steps are too few to win by it"

    def epoch(self, finished: int, report: Report | None = None) -> dict[str, float]:
        """Take a step on every batch, in a new order.

        Args:
            finished: Number of epochs before this one.
            report: Called now and then with the number of finished steps and the means so far.

        Returns:
            Means over the epoch, taken while the parameters moved: ``loss``, ``distortion``, ``rate`` and
            ``rate/<site>``, ``total_correlation/<site>`` in nats per sample, ``train_error`` as a share, ``seconds``.

        Raises:
            DivergenceError: If the loss is not finite; it names the site and the values.
            ValueError: If there is no batch.
        """
        start = time.perf_counter()
        ticker = Ticker(_SECONDS_BETWEEN_LOOKS)
        self._objective.train()
        self._core.means.reset()
        remaining = iter(self._source)
        self._set_weights(finished)
        first = next(remaining, None)
        if first is None:
            raise ValueError(f"data: no batch in epoch {finished + 1}; pass what can be gone through again")
        self._step(first)
        # Bound to no name, a batch is gone before the next one is there; `enumerate` would keep it.
        del first
        step = 1
        with self._checks():
            for batch in remaining:
                step += 1
                if self._schedules:
                    self._set_weights(finished + (step - 1) / (self.steps or step))
                self._step(batch)
                del batch
                if ticker.due() and self._fabric.world_size == 1:
                    means = self._means()
                    if report is not None:
                        report(step, means)
        self.steps, self._unseen, self._has_passed = self.steps or step, False, True
        means = self._means(shared=True)
        self.size = self._core.means.size
        return {**means, "seconds": time.perf_counter() - start}

    def close(self) -> None:
        """Leave the objective at its targets."""
        for name, target in self._targets.items():
            setattr(self._core.elbo, name, target)

    def _checks(self) -> AbstractContextManager[object]:
        # Pyro's checks of shapes, supports and sites take a tenth of a small network's step: the first step has
        # them, and the numbers of all the others are looked at in `_means`.
        return nullcontext() if self._unseen else pyro.validation_enabled(False)

    def _set_weights(self, epoch: float) -> None:
        for name, schedule in self._schedules.items():
            setattr(self._core.elbo, name, schedule(epoch))

    def _step(self, batch: Batch) -> None:
        batch = self._placed(transformed(batch, self._transform))
        self._optimizer.zero_grad()
        try:
            self._accumulate(batch)
        except ValueError as error:
            if not self._has_passed:
                raise
            # The program has passed an epoch: it is the parameters that have moved.
            raise refused(error) from error
        self._optimizer.step()

    def _accumulate(self, batch: Batch) -> None:
        """Add a batch's gradients to the parameters'."""
        captured = self.not_captured is None and not self._unseen
        if captured:
            captured = self._replay(batch)
        if not captured:
            args, kwargs, share = batch
            loss = (
                self._objective(*args, **kwargs)
                if share == 1.0
                else self._objective(*args, share=share, **kwargs)
            )
            self._fabric.backward(loss)

    def _replay(self, batch: Batch) -> bool:
        try:
            self._core.replay(*batch.args, **batch.kwargs)
        except CaptureError as error:
            if self._capture == "on":
                raise CaptureError(f"{error} (capture='off')") from error
            self.not_captured = str(error)
        return self.not_captured is None

    def _means(self, *, shared: bool = False) -> dict[str, float]:
        several = shared and self._fabric.world_size > 1
        means = self._core.means.compute(self._add_up if several else None)
        return {"train_error" if name == "error" else name: value for name, value in means.items()}

    def _add_up(self, values: Tensor) -> Tensor:
        return self._fabric.all_reduce(values, reduce_op="sum")  # type: ignore[union-attr, return-value]


def _changes_nothing(fabric: Fabric | OneDevice) -> bool:
    """Whether Fabric neither casts what a pass takes and gives, nor exchanges anything with other processes."""
    if isinstance(fabric, OneDevice):
        return False  # it wraps nothing
    from lightning.fabric.plugins.precision import Precision
    from lightning.fabric.strategies import SingleDeviceStrategy

    return type(fabric._precision) is Precision and type(fabric.strategy) is SingleDeviceStrategy


def _why_not(fabric: Fabric | OneDevice, program: nn.Module) -> str | None:
    """Say what rules out replaying steps, before anything is tried."""
    if fabric.world_size > 1:
        return "it runs in several processes, which exchange gradients while they are computed"
    if precision_of(fabric) is not None:
        return f"precision {precision_of(fabric)} casts, and may scale the loss, outside of the program"
    if next(program.parameters(), None) is None:
        return "the program has no parameters"
    return None
