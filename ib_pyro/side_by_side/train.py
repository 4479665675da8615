"""Train several runs of one network at once."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ib_pyro.choices import require_known
from ib_pyro.data import batches
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.side_by_side.measuring import evaluate_side_by_side
from ib_pyro.side_by_side.optimizers import OptimizerFactory, OptimizerSettings
from ib_pyro.side_by_side.refusal import VectorizationError
from ib_pyro.side_by_side.runs import Run, SideBySide
from ib_pyro.side_by_side.streams import Streams
from ib_pyro.side_by_side.training import SideBySideTraining, Transform

__all__ = ["build_programs", "train_side_by_side"]

Row = dict[str, Any]


def train_side_by_side(
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
    order: str = "own",
    transform: Transform | None = None,
    validation: object | None = None,
    num_samples: int = 16,
    device: torch.device | str | None = None,
    replay: str = "auto",
    on_epoch: Callable[[list[Row]], None] | None = None,
) -> SideBySide:
    """Train runs of one network that differ in beta, gamma, seed, learning rate or numbers of their layers, at once.

    Each run has the numbers that it has alone, to rounding, which is to say those of::

        torch.manual_seed(run.seed)
        program, order = make_program(**run.options), torch.Generator().manual_seed(run.seed)
        for _ in range(epochs):
            for x, y in batches(data, batch_size, generator=order):
                optimizer.zero_grad()
                (elbo.differentiable_loss(program.model, program.guide, x, y) / len(x)).backward()
                optimizer.step()

    with ``elbo`` at the run's beta and gamma. A run whose loss is no number any more harms none of the others.

    The programs have one structure, and differ in the values of parameters and buffers, and of attributes that are
    floating-point numbers, such as ``drop_prob`` or ``alpha_max`` of a layer. Their random numbers come from PyTorch's
    ambient generator by ``randn``, ``rand``, ``randint``, ``bernoulli`` or dropout.

    Args:
        make_program: Builds a program, a module with ``model(x, y)`` and ``guide(x, y)``, from a run's options.
        data: The training set: anything with tensors ``x`` and ``y``, or the pair of them.
        runs: The runs.
        epochs: Passes over the set.
        batch_size: Samples in a step; the last, partial batch is kept.
        elbo: What the objectives have in common; beta and gamma are the runs'.
        optimizer: ``"sgd"``, ``"adam"``, or a function from a run's parameters to its optimiser.
        lr: Learning rate of runs that have none of their own; by default 0.07 for SGD and 0.001 for Adam.
        momentum: Momentum of SGD.
        nesterov: Nesterov's form of it.
        weight_decay: Factor of ``½ ||w||²`` added to the loss.
        clip_norm: Largest norm of a run's gradient, over all of its parameters.
        lr_schedule: What multiplies the learning rates, as a function of the number of finished epochs.
        beta_schedule: What multiplies beta, as a function of the number of finished epochs, fractions included, such
            as ``lambda epoch: linear_warm_up(epoch, target=1.0, warm_up=5)``.
        order: ``"own"``: each run's batches come in the order of its seed; ``"shared"``: in that of the first run's,
            which costs less.
        transform: What a step sees of a run's batch x, y; it draws from the run's stream.
        validation: Held-out set that the results are about.
        num_samples: Draws of the posterior predictive there.
        device: Where to train; by default where ``make_program`` puts the programs.
        replay: Whether to replay steps from a recording of their tensor operations: ``"on"``, ``"off"``, or
            ``"auto"`` where many steps are to come.
        on_epoch: Called with the history after every epoch.

    Returns:
        The trained programs, and what they did.

    Raises:
        VectorizationError: If the runs cannot be trained side by side; says why, before the first step.
        ValueError: If there is no run, two are the same, or an argument or the data are wrong.

    >>> from ib_pyro import Bottleneck
    >>> from ib_pyro.nn import InformationDropout
    >>> def make_program():
    ...     return Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
    >>> data = torch.rand(20, 4), torch.arange(20) % 2
    >>> runs = [Run(beta=beta, seed=seed) for beta in (0.01, 0.1) for seed in (0, 1)]
    >>> found = train_side_by_side(make_program, data, runs, epochs=2, batch_size=10)
    >>> [point["beta"] for point in found.curve()]
    [0.01, 0.1]
    """
    _check(runs, epochs, order)
    names = [run.name for run in runs]
    programs, streams = build_programs(make_program, runs, device=device)
    elbos = [_objective(elbo, run) for run in runs]
    generators = [Generator().manual_seed(run.seed) for run in runs]
    settings = OptimizerSettings(
        name=optimizer if isinstance(optimizer, str) else "sgd",
        lr=lr,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
    )
    training = SideBySideTraining(
        programs,
        elbos,
        _pair(data),
        names=names,
        streams=streams,
        orders=generators if order == "own" else generators[:1] * len(runs),
        optimizer=_optimizers(optimizer, settings, runs),
        batch_size=batch_size,
        clip_norm=clip_norm,
        transform=transform,
        schedules=None if beta_schedule is None else [_schedules(run, beta_schedule) for run in runs],
        replay=replay,
    )
    history: list[Row] = []
    training.expect(epochs)
    try:
        for finished in range(epochs):
            if lr_schedule is not None:
                training.optimizers.set_factor(lr_schedule(finished))
            rates = training.optimizers.rates
            for run, row, rate in zip(runs, training.epoch(finished), rates, strict=True):
                history.append({**run.settings, "epoch": finished + 1, **row, "lr": rate})
            if on_epoch is not None:
                on_epoch(history)
    finally:
        training.close()
    last = history[-len(runs) :]
    found = [{name: row[name] for name in row if name not in ("epoch", "loss")} for row in last]
    if validation is not None:
        found = evaluate_side_by_side(programs, validation, num_samples=num_samples, names=names)
    results = [
        {**run.settings, "diverged": name in training.diverged, **row}
        for run, name, row in zip(runs, names, found, strict=True)
    ]
    return SideBySide(
        tuple(runs), tuple(programs), history, results, training.diverged, training.not_replayed
    )


def build_programs(
    make_program: Callable[..., nn.Module],
    runs: Sequence[Run],
    *,
    device: torch.device | str | None = None,
) -> tuple[list[nn.Module], Streams]:
    """Build the program of each run under its seed, and go on with its random numbers where that left off.

    PyTorch's ambient generators are left as they were.

    Args:
        make_program: Builds a program from a run's options.
        runs: The runs.
        device: Where to put the programs.
    """
    programs, states = [], []
    for run in runs:
        with torch.random.fork_rng():
            torch.manual_seed(run.seed)
            program = make_program(**run.options)
            if device is not None:
                program.to(device)
            where = next((p.device for p in program.parameters()), torch.device("cpu"))
            on_gpu = where.type == "cuda"
            states.append(torch.cuda.get_rng_state(where) if on_gpu else torch.get_rng_state())
        programs.append(program)
    streams = Streams.seeded([run.seed for run in runs], where)
    streams.states = states
    return programs, streams


def _check(runs: Sequence[Run], epochs: int, order: str) -> None:
    require_known("order=", order, ("own", "shared"))
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1; got {epochs}")
    if not runs:
        raise ValueError("runs is empty; pass at least one Run")
    names = [run.name for run in runs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"runs: {twice[0]} is there twice; give one another seed, or leave it out")


def _objective(elbo: InformationBottleneckELBO | None, run: Run) -> InformationBottleneckELBO:
    new = copy(elbo or InformationBottleneckELBO())
    new.beta, new.gamma = run.beta, run.gamma
    if new.penalty is not None:
        new.penalty = copy(new.penalty)
    return new


def _optimizers(
    optimizer: str | OptimizerFactory, settings: OptimizerSettings, runs: Sequence[Run]
) -> Sequence[OptimizerSettings] | OptimizerFactory:
    if isinstance(optimizer, str):
        return [settings if run.lr is None else replace(settings, lr=run.lr) for run in runs]
    if any(run.lr is not None for run in runs):
        raise VectorizationError(
            "optimizer is a function, and some runs have a learning rate of their own, which it cannot know; pass "
            'optimizer="sgd" or "adam"'
        )
    return optimizer


def _schedules(run: Run, share: Callable[[float], float]) -> dict[str, Callable[[float], Any]]:
    return {"beta": partial(_scaled, run.beta, share)}


def _scaled(
    beta: float | Mapping[str, float], share: Callable[[float], float], epoch: float
) -> float | dict[str, float]:
    factor = share(epoch)
    if isinstance(beta, Mapping):
        return {site: factor * value for site, value in beta.items()}
    return factor * beta


def _pair(data: object) -> tuple[Tensor, Tensor]:
    tensors = batches(data, 1, shuffle=False).tensors
    if len(tensors) != 2:
        raise ValueError(
            f"data: {len(tensors)} tensors, but a program takes inputs x and what is observed, y"
        )
    return tensors[0], tensors[1]
