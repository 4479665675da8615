"""One pass over the training set, on the devices of ``lightning.fabric`` or on one without it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pyro
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ib_pyro.capture import CaptureError
from ib_pyro.choices import require_known
from ib_pyro.data import batches
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.training.data_placement import placed
from ib_pyro.training.lagrangian import Schedule
from ib_pyro.training.objective import Objective
from ib_pyro.training.one_device import OneDevice, precision_of
from ib_pyro.training.progress import Ticker

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["CAPTURE", "TrainingLoop", "Transform"]

CAPTURE = ("auto", "off", "on")
# A recording costs half a second, as much as a thousand steps of a small network win by it.
LEAST_STEPS = 1000

# Reading a number off the device stalls the steps behind it, so the loop looks up this often only.
_SECONDS_BETWEEN_LOOKS = 0.2

Report = Callable[[int, dict[str, float]], None]
Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class TrainingLoop:
    """Steps of an optimiser on the mean Lagrangian of batches.

    Args:
        program: Module with ``model`` and ``guide``; it is moved to the device.
        x: Inputs, ``[N, ...]``.
        y: What is observed, ``[N, ...]``.
        elbo: The objective.
        optimizer: Optimiser of the program's parameters.
        batch_size: Samples in a step; the last, partial batch is kept.
        order: Generator that draws the order of the samples.
        fabric: Device and precision.
        transform: What a step sees of a batch x, y; random draws come from the ambient generator.
        schedules: Attributes of the objective, such as beta, as functions of the number of finished epochs.
        capture: Whether to replay steps from a recording of their tensor operations, under the same seed with the same
            numbers and without their Python: ``"on"``, ``"off"``, or ``"auto"`` for programs that can be recorded.

    Attributes:
        steps: Number of steps in an epoch.
        not_captured: Why steps are not replayed; None if they are, or are still to be tried.
    """

    def __init__(
        self,
        program: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        elbo: InformationBottleneckELBO,
        optimizer: Optimizer,
        batch_size: int,
        order: torch.Generator,
        fabric: Fabric | OneDevice,
        transform: Transform | None = None,
        schedules: Mapping[str, Schedule] | None = None,
        capture: str = "off",
    ) -> None:
        require_known("capture", capture, CAPTURE)
        self._fabric, self._capture = fabric, capture
        self.not_captured = _why_not(fabric, program) if capture != "off" else "capture is off"
        if capture == "on" and self.not_captured:
            raise CaptureError(f"steps cannot be captured: {self.not_captured}")
        self._schedules = dict(schedules or {})
        self._targets = {name: getattr(elbo, name) for name in self._schedules}
        self._transform = transform
        self._core = Objective(program, elbo)
        self._objective: nn.Module
        self._optimizer: Optimizer
        self._objective, self._optimizer = fabric.setup(self._core, optimizer)
        data = (x.to(fabric.device), y.to(fabric.device))
        self._batches = batches(data, batch_size, shuffle=True, generator=order)
        self.steps = len(self._batches)

    def expect(self, epochs: int) -> None:
        """Say how many epochs there will be: where capture is up to the loop, it does not pay for a few steps."""
        if self._capture == "auto" and self.not_captured is None and epochs * self.steps < LEAST_STEPS:
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
            FloatingPointError: If the loss is not finite; it names the site and the values.
        """
        start = time.perf_counter()
        ticker = Ticker(_SECONDS_BETWEEN_LOOKS)
        self._objective.train()
        self._core.means.reset()
        remaining = iter(self._batches)
        self._set_weights(finished)
        self._step(*next(remaining))
        # Pyro's checks of shapes, supports and sites take a tenth of a small network's step: the first step has
        # them, and the numbers of all the others are looked at in `_means`.
        with pyro.validation_enabled(False):
            for step in range(2, self.steps + 1):
                self._set_weights(finished + (step - 1) / self.steps)
                # Bound to no name in the loop, a batch is gone before the next one is there.
                self._step(*next(remaining))
                if ticker.due():
                    means = self._means()
                    if report is not None:
                        report(step, means)
        return {**self._means(), "seconds": time.perf_counter() - start}

    def close(self) -> None:
        """Leave the objective at its targets."""
        for name, target in self._targets.items():
            setattr(self._core.elbo, name, target)

    def _set_weights(self, epoch: float) -> None:
        for name, schedule in self._schedules.items():
            setattr(self._core.elbo, name, schedule(epoch))

    def _step(self, x: Tensor, y: Tensor) -> None:
        if self._transform is not None:
            x, y = self._transform(x, y)
        self._optimizer.zero_grad()
        if self.not_captured is None:
            self._replay(x, y)
        if self.not_captured is not None:
            self._fabric.backward(self._objective(x, y))
        self._optimizer.step()

    def _replay(self, x: Tensor, y: Tensor) -> None:
        program = self._core.program
        try:
            self._core.replay(placed(x, program), placed(y, program))
        except CaptureError as error:
            if self._capture == "on":
                raise CaptureError(f"{error} (capture='off')") from error
            self.not_captured = str(error)

    def _means(self) -> dict[str, float]:
        means = self._core.means.compute()
        return {"train_error" if name == "error" else name: value for name, value in means.items()}


def _why_not(fabric: Fabric | OneDevice, program: nn.Module) -> str | None:
    """Say what rules out replaying steps, before anything is tried."""
    if fabric.world_size > 1:
        return "it runs in several processes, which exchange gradients while they are computed"
    if precision_of(fabric) is not None:
        return f"precision {precision_of(fabric)} casts, and may scale the loss, outside of the program"
    if next(program.parameters(), None) is None:
        return "the program has no parameters"
    return None
