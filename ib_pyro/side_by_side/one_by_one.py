"""Runs that are trained one after the other, as each is alone: for programs that cannot be run for several at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.side_by_side.apart import Apart
from ib_pyro.side_by_side.building import objective_of, optimizers_of, pair_of, program_and_state, schedule_of
from ib_pyro.side_by_side.measuring import evaluate_alone, require_held_out
from ib_pyro.side_by_side.run_batches import Transform
from ib_pyro.side_by_side.run_objectives import what_learns
from ib_pyro.side_by_side.run_optimizers import OptimizerFactory, OptimizerSettings
from ib_pyro.side_by_side.runs import Run, SideBySide, require_alike
from ib_pyro.side_by_side.streams import Streams
from ib_pyro.side_by_side.tables import result_of
from ib_pyro.training.dataset import Samples
from ib_pyro.training.fitting import fit
from ib_pyro.training.one_device import OneDevice

__all__ = ["train_one_by_one"]

Row = dict[str, Any]
KINDS = ("rate/", "total_correlation/")


def train_one_by_one(
    make_program: Callable[..., nn.Module],
    data: object,
    runs: Sequence[Run],
    *,
    epochs: int,
    batch_size: int = 100,
    elbo: InformationBottleneckELBO | None = None,
    optimizer: str | OptimizerFactory = "sgd",
    lr: float | None = None,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    lr_schedule: Callable[[int], float] | None = None,
    beta_schedule: Callable[[float], float] | None = None,
    transform: Transform | None = None,
    validation: object | None = None,
    test: object | None = None,
    num_samples: int = 16,
    device: torch.device | str | None = None,
) -> SideBySide:
    """Train each run alone; the arguments and what is returned are those of :func:`train_side_by_side`."""
    settings = OptimizerSettings(
        name=optimizer if isinstance(optimizer, str) else "sgd",
        lr=lr,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
    )
    require_alike(runs)
    if elbo is not None and (learns := what_learns(elbo)):
        raise ValueError(learns)
    how = optimizers_of(optimizer, settings, runs)
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"clip_norm must be positive; got {clip_norm}")
    samples = pair_of(data)
    held_out_sets = {"validation": validation, "test": test}
    if any(given is not None for given in held_out_sets.values()):
        # A program of its own: what a first call makes of lazy parameters is up to the fit.
        program, _ = program_and_state(make_program, runs[0], device=device)
        require_held_out(program, held_out_sets, elbo)
    programs: list[nn.Module] = []
    history: list[Row] = []
    diverged: dict[str, str] = {}
    held_out: dict[str, list[Row]] = {"validation": [], "test": []}
    apart = Apart()
    for number, run in enumerate(runs):
        program, state = program_and_state(make_program, run, device=device)
        apart.add(program, run.name)
        parameters = list(program.parameters())
        one = how(parameters) if callable(how) else _built(how[number], parameters)
        if clip_norm is not None:
            one.register_step_pre_hook(partial(_clip, parameters, clip_norm))
        rows: list[Row] = []
        options: dict[str, Any] = {
            "epochs": epochs,
            "batch_size": batch_size,
            "elbo": objective_of(elbo, run),
            "optimizer": one,
            "scheduler": None if lr_schedule is None else LambdaLR(one, lr_schedule),
            "transform": transform,
            "schedules": schedule_of(run, beta_schedule),
            "on_epoch": partial(_remember, rows, run.name),
        }
        why = _fit(program, samples, run, state, options)
        if why is not None:
            diverged[run.name] = why
        programs.append(program)
        history += rows
        for name, given in held_out_sets.items():
            if given is not None:
                how_measured: dict[str, Any] = {"num_samples": num_samples, "elbo": elbo, "checked": True}
                held_out[name].append(evaluate_alone(program, given, **how_measured) if why is None else {})
    return result_of(
        runs,
        programs,
        history,
        diverged,
        validation=held_out["validation"] or None,
        test=held_out["test"] or None,
        not_replayed="the runs were trained one by one",
    )


def _built(settings: OptimizerSettings, parameters: list[nn.Parameter]) -> Optimizer:
    return settings.build([{"params": parameters, "lr": settings.lr}])


def _fit(
    program: nn.Module, samples: tuple[Tensor, Tensor], run: Run, state: Tensor, options: dict[str, Any]
) -> str | None:
    """Fit a program, its noise going on from a state of the generator; return why it came to nothing, if it did."""
    where = next((p.device for p in program.parameters()), torch.device("cpu"))
    stream = Streams.seeded([run.seed], where)
    stream.states = [state]
    order = Generator().manual_seed(run.seed)
    try:
        with stream.ambient(0):
            fit(program, Samples(*samples), fabric=OneDevice(where), order=order, progress=False, **options)
    except FloatingPointError as error:
        return str(error)
    return None


def _remember(rows: list[Row], name: str, history: Sequence[Row]) -> None:
    """Keep the last row of a history under the names that runs side by side have."""
    names = {"train_error": "error"}
    own = ("loss", "distortion", "rate", "epoch", "train_error", "lr")
    kept = {names.get(n, n): v for n, v in history[-1].items() if n in own or n.startswith(KINDS)}
    rows.append({"run": name, **kept})


def _clip(parameters: Sequence[nn.Parameter], largest: float, *_: object) -> None:
    clip_grad_norm_(parameters, largest)
