"""Epochs of several runs at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ib_pyro.choices import require_known
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.precision import widest
from ib_pyro.side_by_side.first_step import require_same_alone, size_behind, unreached
from ib_pyro.side_by_side.lagrangians import Evaluation, Lagrangians
from ib_pyro.side_by_side.refusal import VectorizationError
from ib_pyro.side_by_side.run_batches import RunBatches, Transform, placed, repeated
from ib_pyro.side_by_side.run_objectives import Objectives
from ib_pyro.side_by_side.run_optimizers import OptimizerFactory, OptimizerSettings, RunOptimizers
from ib_pyro.side_by_side.sound_data import require_of_some
from ib_pyro.side_by_side.stack import Stack
from ib_pyro.side_by_side.streams import Streams
from ib_pyro.vector_math import page_in_special_cases

__all__ = ["REPLAY", "SideBySideTraining"]

REPLAY = ("auto", "off", "on")
# A recording takes about a second, which it wins back at some ten milliseconds a step.
LEAST_STEPS = 150

Schedules = Mapping[str, Callable[[float], Any]]


class SideBySideTraining:
    """Steps of several runs of one network on the mean Lagrangians of their batches.

    Each run has the numbers that it would have alone, to rounding: its own parameters, statistics, noise, order of
    batches and optimiser. While it is open, the programs' tensors are views of the runs' common memory.

    Args:
        programs: The program of each run, of one structure, on one device.
        elbos: The objective of each; schedules set their weights.
        data: Inputs ``[N, ...]`` and what is observed of them, ``[N, ...]``.
        names: What each run is called.
        streams: The random numbers of each: of the noise, and of ``transform``.
        orders: A generator for each run that draws the order of its batches; one and the same for all is a common
            order.
        optimizer: See :class:`~ib_pyro.side_by_side.run_optimizers.RunOptimizers`.
        batch_size: Samples in a step; the last, partial batch is kept.
        clip_norm: Largest norm of a run's gradient.
        transform: What a step sees of a run's batch x, y; it draws from the run's stream.
        schedules: For each run, attributes of its objective, such as beta, as functions of the number of finished
            epochs, fractions included.
        replay: Whether to replay steps from a recording of their tensor operations, with the same numbers: ``"on"``,
            ``"off"``, or ``"auto"`` where many steps are to come.
        compile: Whether to compile the recording of whole batches, which takes seconds to a minute and a compiler
            for C++; the numbers then are the same to rounding.
        check: Asked before the first step, once the runs are known to be what each is alone: raises if a program does
            not take the data. It is asked of one program that is sound.

    Attributes:
        steps: Number of steps in an epoch.
        diverged: Runs whose loss was not finite, by name, and since when.
        not_replayed: Why steps are not replayed; None if they are, or are still to be tried.

    Raises:
        VectorizationError: If the runs cannot be trained side by side; says why.
    """

    def __init__(
        self,
        programs: Sequence[nn.Module],
        elbos: Sequence[InformationBottleneckELBO],
        data: tuple[Tensor, Tensor],
        *,
        names: Sequence[str],
        streams: Streams,
        orders: Sequence[Generator],
        optimizer: Sequence[OptimizerSettings] | OptimizerFactory,
        batch_size: int = 100,
        clip_norm: float | None = None,
        transform: Transform | None = None,
        schedules: Sequence[Schedules] | None = None,
        replay: str = "auto",
        compile: bool = False,
        check: Callable[[nn.Module], None] | None = None,
    ) -> None:
        require_known("replay=", replay, REPLAY)
        if compile and replay == "off":
            raise ValueError(
                "compile=True compiles a recording, and replay='off' makes none; leave one of them out"
            )
        page_in_special_cases()
        replay, self._compile = "on" if compile else replay, compile
        self._names, self._elbos, self._streams, self._replay = tuple(names), tuple(elbos), streams, replay
        self._schedules = schedules or [{}] * len(programs)
        self._are_scheduled = any(self._schedules)
        for program in programs:
            program.train()
        self._set_weights(0.0)
        self._stack = Stack(programs, names)
        try:
            like = self._stack.like
            how: dict[str, Any] = {"like": like, "transform": transform, "streams": streams}
            self._batches = RunBatches(data, orders, batch_size, **how)
            self._objectives = Objectives(elbos, names, like)
            self._num_data = size_behind(self._stack, *self._batches.first())
            self.lagrangians = Lagrangians(self._stack, self._objectives, streams, num_data=self._num_data)
            self.optimizers = RunOptimizers(self._stack, optimizer, clip_norm=clip_norm)
        except BaseException:
            self._stack.release()
            raise
        self.steps = len(self._batches)
        self.diverged: dict[str, str] = {}
        self.not_replayed: str | None = "it is switched off" if replay == "off" else None
        self._check_data, self._checked = check, set[int]()
        self._unreached: dict[tuple[bool, ...], frozenset[int]] = {}
        self._epochs = 0

    def expect(self, epochs: int) -> None:
        """Say how many epochs there will be in all: a recording does not pay for a few steps."""
        self._epochs = epochs

    def epoch(self, finished: int) -> list[dict[str, float]]:
        """Take a step of every run on each of its batches, in a new order.

        Args:
            finished: Number of epochs before this one.

        Returns:
            For each run, means over the epoch, taken while its parameters moved: ``loss``, ``distortion``, ``rate``,
            ``rate/<site>`` and ``total_correlation/<site>`` in nats per sample, ``error`` as a share.
        """
        totals: Tensor | None = None
        labels: list[str] = []
        for program in self._stack.programs:
            program.train()
        for step, (x, y) in enumerate(self._batches):
            if step == 0 or self._are_scheduled:
                self._set_weights(finished + step / self.steps)
                self._objectives.refresh()
            if x.shape[1] not in self._checked:
                self._check(x, y)
            found = self._evaluate(x, y)
            self.optimizers.step(found.gradients, self._skipped(x, y))
            size = x.shape[1]
            wide = widest(x.device)
            column = torch.stack([found.loss.to(wide) * size, *found.sums.values()])
            totals, labels = column if totals is None else totals + column, ["loss", *found.sums]
        assert totals is not None
        return self._rows((totals / self._batches.size).T.tolist(), labels, finished + 1)

    def held_out_means(
        self, x: Tensor, y: Tensor, elbos: Sequence[InformationBottleneckELBO], *, batch_size: int = 1000
    ) -> list[dict[str, float]]:
        """Return means over a held-out set for each run, under one draw of noise, the same each time.

        Args:
            x: Inputs, ``[N, ...]``.
            y: What is observed.
            elbos: Each run's objective, at the weights that the loss is taken at.
            batch_size: Samples at a time.

        Returns:
            ``loss``, ``distortion``, ``rate`` and ``rate/<site>`` in nats per sample; where y are classes ``error``.
        """
        for program in self._stack.programs:
            program.eval()
        runs, like = len(self._names), self._stack.like
        streams = Streams.seeded([0] * runs, like.device)
        objectives = Objectives(elbos, self._names, like)
        lagrangians = Lagrangians(self._stack, objectives, streams, num_data=self._num_data)
        totals: dict[str, Tensor] = {}
        for parts in zip(x.split(batch_size), y.split(batch_size), strict=True):
            sums, _ = lagrangians.measure(*(repeated(placed(values, like), runs) for values in parts))
            totals = {name: totals.get(name, 0.0) + value for name, value in sums.items()}
        columns = {name: (total / len(x)).tolist() for name, total in totals.items()}
        rows = [{name: column[run] for name, column in columns.items()} for run in range(runs)]
        return [{**row, "rate": _total_rate(row)} for row in rows]

    @property
    def has_stepped(self) -> bool:
        """Whether there has been a step, before which the data are checked."""
        return bool(self._checked)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on, made of tensors and plain values: each run's, side by side."""
        return {
            "names": list(self._names),
            "parameters": dict(self._stack.parameters),
            "others": dict(self._stack.others),
            "optimizers": self.optimizers.state_dict(),
            "streams": self._streams.states,
            "orders": self._batches.states,
            "objectives": self._objectives.state_dict(),
            "diverged": dict(self.diverged),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave, with the same numbers as if there had been no stop.

        Raises:
            ValueError: If it is of other runs.
        """
        if state["names"] != list(self._names):
            raise ValueError(f"the state is of the runs {state['names']}, and not of {list(self._names)}")
        for own, kept in ((self._stack.parameters, "parameters"), (self._stack.others, "others")):
            for name, tensor in own.items():
                tensor.copy_(state[kept][name])
        self.optimizers.load_state_dict(state["optimizers"])
        self._streams.states, self._batches.states = state["streams"], state["orders"]
        self._objectives.load_state_dict(state["objectives"])
        self.diverged = dict(state["diverged"])

    def close(self) -> None:
        """Give each program memory of its own, and leave it in evaluation mode."""
        self.optimizers.close()
        self._stack.release()
        for program in self._stack.programs:
            program.eval()

    def _check(self, x: Tensor, y: Tensor) -> None:
        try:
            how = (self._elbos, self._streams, self._names, (x, y), self._num_data)
            require_same_alone(self._evaluate, self._stack, *how)
            if self._check_data is not None and not self._checked:
                require_of_some(self._stack.programs, self._check_data)
        except BaseException:
            self._stack.release()
            raise
        self._checked.add(x.shape[1])

    def _evaluate(self, x: Tensor, y: Tensor) -> Evaluation:
        # Of all epochs, also of those before a resumption: its arithmetic is that of a fit that did not stop.
        whole = x.shape[1] == min(self._batches.batch_size, self._batches.size)
        steps = self._epochs * (max(1, self._batches.size // self._batches.batch_size) if whole else 1)
        pays = self._replay == "on" or self.lagrangians.has_recording(x, y) or steps >= LEAST_STEPS
        if self.not_replayed is None and pays:
            try:
                return self.lagrangians(x, y, replay=True, compile=self._compile and whole)
            except VectorizationError as error:
                if self._replay == "on":
                    raise
                self.not_replayed = str(error)
        return self.lagrangians(x, y)

    def _skipped(self, x: Tensor, y: Tensor) -> list[frozenset[int]]:
        """Return the numbers of the parameters that each run's loss does not depend on since a weight is 0."""
        zeros = self._objectives.zeros
        if not any(map(any, zeros)):
            return []
        for run, which in enumerate(zeros):
            if which not in self._unreached:
                of_run = x[run], y[run]
                self._unreached[which] = unreached(self._stack, run, self._elbos[run], self._streams, *of_run)
        return [self._unreached[which] for which in zeros]

    def _set_weights(self, epoch: float) -> None:
        for elbo, schedules in zip(self._elbos, self._schedules, strict=True):
            for name, schedule in schedules.items():
                setattr(elbo, name, schedule(epoch))

    def _rows(
        self, table: Sequence[Sequence[float]], labels: Sequence[str], epoch: int
    ) -> list[dict[str, float]]:
        rows = []
        for name, values in zip(self._names, table, strict=True):
            row = dict(zip(labels, values, strict=True))
            bad = [f"{label} = {value}" for label, value in row.items() if not abs(value) < float("inf")]
            if bad and name not in self.diverged:
                self.diverged[name] = (
                    f"epoch {epoch}: not finite ({', '.join(bad)}); a smaller learning rate may help"
                )
            head = {"loss": row.pop("loss"), "distortion": row.pop("distortion"), "rate": _total_rate(row)}
            rows.append({**head, **row})
        return rows


def _total_rate(row: Mapping[str, float]) -> float:
    return sum(value for label, value in row.items() if label.startswith("rate/"))
