"""Several runs of one network trained at a time, each with the numbers of its own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ib_pyro.data import batches
from ib_pyro.side_by_side.measured_step import measured_step
from ib_pyro.side_by_side.run_graph import SideBySideError, tensors_of
from ib_pyro.side_by_side.runs import Run, SideBySide, require_alike
from ib_pyro.side_by_side.stacked_optimizer import StackedOptimizer
from ib_pyro.side_by_side.stacked_step import StackedStep, stack_programs, unstack_into
from ib_pyro.side_by_side.verification import require_own_numbers

if TYPE_CHECKING:
    pass

__all__ = ["train_side_by_side"]

RATES = {"adam": 1e-3, "sgd": 0.07}
Row = dict[str, Any]
Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def train_side_by_side(
    make_program: Callable[..., nn.Module],
    data: Any,  # noqa: ANN401  (whatever ib_pyro.data.batches takes)
    runs: Sequence[Run],
    *,
    epochs: int,
    batch_size: int = 100,
    test: Any = None,  # noqa: ANN401
    optimizer: str = "sgd",
    lr: float | None = None,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    lr_milestones: Sequence[int] = (),
    lr_factor: float = 0.1,
    schedule: Callable[..., float] | None = None,
    order: int | None = None,
    transform: Transform | None = None,
    capture: bool = True,
    on_epoch: Callable[[list[Row]], None] | None = None,
    **objective: Any,
) -> SideBySide:
    r"""Train several runs of one network as one computation over stacked tensors.

    Each run has the numbers that it has alone, to rounding: PyTorch's ambient generator is seeded with the run's seed,
    the program is made, and the noise drawn from the same generator on; the samples' order comes from a generator of
    its own with the same seed. A step is the graph of one run's step (:mod:`ib_pyro.capture`), mapped over all runs by
    :func:`torch.func.vmap`, with the draws made outside of it, each run's by its own generator. On the first batch
    every run is also evaluated alone, and what differs is refused. The ambient generators are left as they were.

    Args:
        make_program: Makes a run's program from its options, a module with ``model`` and ``guide``.
        data: The training set: what :func:`ib_pyro.data.batches` takes, x and y.
        runs: The runs. They may differ in beta, gamma, seed, learning rate, and in numbers within their programs.
        epochs: Passes over the training set.
        batch_size: Samples in a step; the last, partial batch is kept.
        test: A test set, on which each run is evaluated at the end.
        optimizer: ``"sgd"`` or ``"adam"``, PyTorch's.
        lr: Learning rate of the runs that have none of their own; by default 0.07 for SGD and 0.001 for Adam.
        momentum: Momentum of SGD.
        nesterov: Nesterov's form of it.
        weight_decay: Factor of ``½ ||w||²`` added to the loss.
        lr_milestones: Numbers of finished epochs after which the learning rate drops.
        lr_factor: What a drop multiplies it by.
        schedule: Beta's course, from the number of finished epochs, a fraction, and ``target=`` to the beta of a step,
            as those of ``ib_pyro.elbo.schedules`` are with their options bound.
        order: Seed of one order of the samples for all runs; by default each has its own.
        transform: What a step sees of a batch x, y, such as images binarised anew; it may draw from the ambient
            generator, which is the run's own then.
        capture: Whether the stacked operations are recorded in turn and replayed without Python, which pays after
            some hundred steps.
        on_epoch: Called after each epoch with the rows of the history so far.
        **objective: Options of :class:`ib_pyro.elbo.InformationBottleneckELBO` other than its weights.

    Raises:
        ValueError: If a setting is out of range, or the runs' weights or programs do not go together.
        CaptureError: If a program cannot be recorded, such as one that looks at values.
        SideBySideError: If the programs compute different things, or no numbers of their own can be given to them.

    >>> from ib_pyro import Bottleneck
    >>> from ib_pyro.nn import InformationDropout
    >>> make = lambda: Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
    >>> data = torch.rand(20, 4), torch.randint(2, (20,))
    >>> found = train_side_by_side(make, data, [Run(beta=b) for b in (0.0, 0.1)], epochs=1, batch_size=10)
    >>> list(found.programs), list(found.table["beta"])
    (['beta=0.0, seed=0', 'beta=0.1, seed=0'], [0.0, 0.1])
    """
    require_alike(runs)
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1; got {epochs}")
    trainer = _Trainer(make_program, runs, objective, order=order, capture=capture, schedule=schedule)
    rates = [run.lr or lr or RATES.get(optimizer, 0.0) for run in runs]
    settings = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    steps = StackedOptimizer(optimizer, trainer.trained, rates, **settings)  # type: ignore[arg-type]
    tensors = batches(data, batch_size).tensors[:2]
    history: list[Row] = []
    for epoch in range(epochs):
        factor = lr_factor ** sum(epoch >= drop for drop in lr_milestones)
        steps.set_factor(factor)
        found = trainer.epoch(tensors, batch_size, epoch, steps, transform)
        history += _rows(runs, epoch, found, [rate * factor for rate in rates])
        if on_epoch is not None:
            on_epoch(history)
    tested = None if test is None else trainer.evaluate(batches(test, 1000).tensors[:2], 1000)
    trainer.finish()
    return _result(runs, trainer.programs, history, tested)


class _Trainer:
    """The state of several runs."""

    def __init__(
        self,
        make_program: Callable[..., nn.Module],
        runs: Sequence[Run],
        objective: Mapping[str, Any],
        *,
        order: int | None,
        capture: bool,
        schedule: Callable[..., float] | None,
    ) -> None:
        self._runs, self._capture, self._schedule = runs, capture, schedule
        self.programs: list[nn.Module] = []
        self._streams: list[torch.Generator] = []
        for run in runs:
            program, stream = _begin(make_program, run)
            self.programs.append(program.train())
            self._streams.append(stream)
        _require_same_tensors(self.programs, runs)
        self._names = [*runs[0].betas, *(["gamma"] if runs[0].gamma else [])]
        self._steps = [measured_step(program, self._names, objective) for program in self.programs]
        self._parameters, self._buffers = stack_programs(self.programs)
        self._stacked: dict[object, StackedStep] = {}
        self._alike = [next(j for j, other in enumerate(runs) if _same_options(other, run)) for run in runs]
        self._shared = order is not None
        self._orders = [torch.Generator().manual_seed(run.seed if order is None else order) for run in runs]
        self._device = next(iter(self._parameters.values())).device

    @property
    def trained(self) -> list[Tensor]:
        """Stacked parameters that are trained, ``[K, ...]`` each."""
        own = tensors_of(self.programs[0])[0]
        return [self._parameters[name] for name, parameter in own.items() if parameter.requires_grad]

    def epoch(
        self,
        tensors: Sequence[Tensor],
        batch_size: int,
        finished: int,
        optimizer: StackedOptimizer,
        transform: Transform | None,
    ) -> dict[str, list[float]]:
        """Take a step on every batch; return means over the epoch by name, one for each run."""
        size = len(tensors[0])
        own = self._orders[:1] if self._shared else self._orders
        orders = torch.stack([torch.randperm(size, generator=generator) for generator in own])
        total: Tensor | None = None
        count = math.ceil(size / batch_size)
        for i, index in enumerate(orders.split(batch_size, 1)):
            x, y = self._batch(tensors, index, transform)
            inputs = [*self._weights(finished + i / count), x, y]
            step = self._step(inputs, training=True)
            results = step([*self._parameters.values(), *self._buffers.values()], inputs, self._streams)
            sums = len(step.names)
            gradients = iter(results[1 + sums :])
            expected = [g is not None for g in step.expected.gradients]
            optimizer.step([next(gradients) if there else None for there in expected])
            part = torch.stack(results[1 : 1 + sums])
            total = part if total is None else total + part
        assert total is not None
        return _means(step.names, total / size)

    @torch.no_grad()
    def evaluate(self, tensors: Sequence[Tensor], batch_size: int) -> dict[str, list[float]]:
        """Return means over a set by name, one for each run, under one draw of noise seeded by the run's seed."""
        for program in self.programs:
            program.eval()
        streams = [torch.Generator(self._device).manual_seed(run.seed) for run in self._runs]
        total: Tensor | None = None
        for part in zip(*(tensor.split(batch_size) for tensor in tensors), strict=True):
            x, y = (tensor.to(self._device) for tensor in part)
            inputs = [*self._weights(None), x, y]
            step = self._step(inputs, training=False)
            results = step([*self._parameters.values(), *self._buffers.values()], inputs, streams)
            found = torch.stack(results[1 : 1 + len(step.names)])
            total = found if total is None else total + found
        assert total is not None
        return _means(step.names, total / len(tensors[0]))

    def finish(self) -> None:
        """Write the parameters into the programs, and leave them in evaluation mode."""
        unstack_into(self.programs, self._parameters, self._buffers)
        for program in self.programs:
            program.eval()

    def _step(self, inputs: Sequence[Tensor], *, training: bool) -> StackedStep:
        shared = self._shared or not training
        key = (training, inputs[-2].shape)
        if key not in self._stacked:
            names = [run.name for run in self._runs]
            step = StackedStep(
                self._steps,
                self.programs,
                names,
                inputs,
                alike=self._alike,
                shared=shared,
                with_gradients=training,
                capture=self._capture,
            )
            unstack_into(self.programs, self._parameters, self._buffers)
            own = [self._parameters, self._buffers]
            require_own_numbers(
                step,
                self._steps,
                self.programs,
                names,
                own,
                inputs,
                self._streams,
                shared=shared,
                training=training,
            )
            self._stacked[key] = step
        return self._stacked[key]

    def _batch(
        self, tensors: Sequence[Tensor], index: Tensor, transform: Transform | None
    ) -> tuple[Tensor, Tensor]:
        index = index.to(tensors[0].device)
        if transform is None:
            x, y = (tensor[index[0] if self._shared else index].to(self._device) for tensor in tensors)
            return x, y
        if self._shared:
            raise ValueError(
                "transform draws for each run, whose samples then are not shared; leave order out"
            )
        pairs = []
        for own, stream in zip(index, self._streams, strict=True):
            with torch.random.fork_rng([]):
                torch.set_rng_state(stream.get_state())
                pairs.append(transform(*(tensor[own] for tensor in tensors)))
                stream.set_state(torch.get_rng_state())
        return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])

    def _weights(self, epoch: float | None) -> list[Tensor]:
        """Return the weights of a step, ``[K]`` each; at their targets without an epoch."""
        columns = []
        for name in self._names:
            values = [run.gamma if name == "gamma" else run.betas[name] for run in self._runs]
            if self._schedule is not None and epoch is not None and name != "gamma":
                values = [self._schedule(epoch, target=value) for value in values]
            columns.append(torch.tensor(values, dtype=torch.float64, device=self._device))
        return columns


def _begin(make_program: Callable[..., nn.Module], run: Run) -> tuple[nn.Module, torch.Generator]:
    """Return a run's program, and the generator that goes on where making it has ended."""
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        program = make_program(**run.options)
        device = next((p.device for p in program.parameters()), torch.device("cpu"))
        stream = torch.Generator(device).manual_seed(run.seed)
        if device.type == "cpu":
            stream.set_state(torch.get_rng_state())
    return program, stream


def _require_same_tensors(programs: Sequence[nn.Module], runs: Sequence[Run]) -> None:
    def shapes(program: nn.Module) -> dict[str, tuple[object, ...]]:
        parts = tensors_of(program)
        return {
            name: (tuple(t.shape), t.dtype, t.requires_grad) for part in parts for name, t in part.items()
        }

    first = shapes(programs[0])
    if not any(trains for _, _, trains in first.values()):
        raise ValueError("the programs have no parameters to train")
    for program, run in zip(programs, runs, strict=True):
        own = shapes(program)
        different = sorted(name for name in {**first, **own} if first.get(name) != own.get(name))
        if different:
            name = different[0]
            raise SideBySideError(
                f"run {run.name!r}: {name} is {own.get(name)}, but {first.get(name)} in run {runs[0].name!r}; runs "
                "side by side have parameters and buffers of the same names, shapes and types. Train other "
                "networks in a call of their own"
            )


def _same_options(one: Run, other: Run) -> bool:
    if one is other:
        return True
    try:
        return bool(dict(one.options) == dict(other.options))
    except (RuntimeError, ValueError):
        return False


def _means(names: Sequence[str], values: Tensor) -> dict[str, list[float]]:
    found = dict(zip(names, values.tolist(), strict=True))
    rates = [name for name in names if name.startswith("rate/")]
    total = [math.fsum(column) for column in zip(*(found[name] for name in rates), strict=True)]
    return {**found, "rate": total or [0.0] * values.shape[1]}


def _rows(
    runs: Sequence[Run], epoch: int, found: Mapping[str, list[float]], rates: Sequence[float]
) -> list[Row]:
    rows = []
    for k, (run, rate) in enumerate(zip(runs, rates, strict=True)):
        named = {"train_error" if name == "error" else name: values[k] for name, values in found.items()}
        rows.append({"run": run.name, "epoch": epoch + 1, **named, "lr": rate})
    return rows


def _result(
    runs: Sequence[Run],
    programs: Sequence[nn.Module],
    history: list[Row],
    tested: Mapping[str, list[float]] | None,
) -> SideBySide:
    import pandas as pd  # type: ignore[import-untyped]

    table = []
    last = {row["run"]: row for row in history}
    for k, run in enumerate(runs):
        failed = [
            row["epoch"] for row in history if row["run"] == run.name and not math.isfinite(row["loss"])
        ]
        row = {
            "run": run.name,
            **run.betas,
            "gamma": run.gamma,
            "seed": run.seed,
            **run.options,
            **last[run.name],
        }
        row |= {f"test_{name}": values[k] for name, values in (tested or {}).items()}
        table.append({**row, "diverged_at": failed[0] if failed else None})
        if failed:
            warnings.warn(
                f"run {run.name!r} has diverged: its loss is not finite from epoch {failed[0]} on; lower its lr "
                f"({row['lr']:g}) or beta. The other runs are as they are without it",
                stacklevel=3,
            )
    by_name = {run.name: program for run, program in zip(runs, programs, strict=True)}
    return SideBySide(by_name, pd.DataFrame(table), pd.DataFrame(history))
