"""Train several runs of one network at once."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ib_pyro.batch_norm import has_batch_norm
from ib_pyro.checks import require_count, require_gradients
from ib_pyro.choices import require_known
from ib_pyro.data.cache import fingerprint
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.handlers import warn_if_noise_is_off
from ib_pyro.side_by_side.building import build_programs, objective_of, optimizers_of, pair_of, schedule_of
from ib_pyro.side_by_side.measuring import evaluate_side_by_side, require_held_out
from ib_pyro.side_by_side.run_batches import Transform
from ib_pyro.side_by_side.run_description import describe_optimizers, describe_runs
from ib_pyro.side_by_side.run_optimizers import OptimizerFactory, OptimizerSettings
from ib_pyro.side_by_side.runs import Run, SideBySide, require_alike
from ib_pyro.side_by_side.runs_checkpoint import RunsCheckpoint
from ib_pyro.side_by_side.sound_data import require_trainable
from ib_pyro.side_by_side.steps import SideBySideTraining
from ib_pyro.side_by_side.tables import result_of
from ib_pyro.training.fit_description import describe_program

__all__ = ["train_side_by_side"]

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
    test: object | None = None,
    num_samples: int = 16,
    device: torch.device | str | None = None,
    replay: str = "auto",
    compile: bool = False,
    on_epoch: Callable[[list[Row]], None] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 0.0,
) -> SideBySide:
    """Train runs of one network that differ in beta, gamma, seed, learning rate or numbers of their layers, at once.

    Each run has the numbers that it has alone, to rounding, which is to say those of::

        torch.manual_seed(run.seed)
        program, order = (
            make_program(**run.options),
            torch.Generator().manual_seed(run.seed),
        )
        for _ in range(epochs):
            for x, y in batches(data, batch_size, generator=order):
                optimizer.zero_grad()
                (
                    elbo.differentiable_loss(program.model, program.guide, x, y) / len(x)
                ).backward()
                optimizer.step()

    with ``elbo`` at the run's beta and gamma; where a plate of the program draws a batch as a subsample, its loss is
    one of the whole set, and divided by the size of that. A run whose loss is no number any more harms none of the
    others.

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
        validation: Held-out set that the table is about.
        test: Another, for the columns ``test_...`` of the table.
        num_samples: Draws of the posterior predictive there.
        device: Where to train; by default where ``make_program`` puts the programs.
        replay: Whether to replay steps from a recording of their tensor operations: ``"on"``, ``"off"``, or
            ``"auto"`` where many steps are to come.
        compile: Whether to compile the recording, which takes a few seconds to a minute, and a compiler for C++; pays
            for some thousands of steps. The numbers are the same to rounding.
        on_epoch: Called with the rows of the history after every epoch.
        checkpoint: File to keep the state of all runs in, from which a process that was stopped goes on, with the
            numbers that it would have had. It stays at the end, so that a longer fit can go on from there.
        checkpoint_seconds: Least time between two checkpoints, which are made after epochs.

    Returns:
        The trained programs, and what they did.

    Raises:
        VectorizationError: If the runs cannot be trained side by side; says why, before the first step.
        ValueError: If there is no run, two are the same, an argument or the data are wrong, or the checkpoint is of
            other runs.

    >>> from ib_pyro import Bottleneck
    >>> from ib_pyro.nn import InformationDropout
    >>> def make_program():
    ...     return Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
    >>> data = torch.rand(20, 4), torch.arange(20) % 2
    >>> runs = [Run(beta=beta, seed=seed) for beta in (0.01, 0.1) for seed in (0, 1)]
    >>> found = train_side_by_side(make_program, data, runs, epochs=2, batch_size=10)
    >>> found.curve()["beta"].tolist()
    [0.01, 0.1]
    """
    require_gradients("train_side_by_side")
    warn_if_noise_is_off("train_side_by_side", stacklevel=2)
    _check(runs, epochs, batch_size, order)
    names = [run.name for run in runs]
    programs, streams = build_programs(make_program, runs, device=device)
    described = [describe_program(program) for program in programs]
    pair = pair_of(data)
    _require_batches_to_norm(programs[0], len(pair[0]), batch_size)
    generators = [Generator().manual_seed(run.seed) for run in runs]
    settings = OptimizerSettings(
        name=optimizer if isinstance(optimizer, str) else "sgd",
        lr=lr,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
    )
    elbos, held_out = [objective_of(elbo, run) for run in runs], {"validation": validation, "test": test}
    made_of = describe_runs(runs, elbos)
    training = SideBySideTraining(
        programs,
        elbos,
        pair,
        names=names,
        streams=streams,
        orders=generators if order == "own" else generators[:1] * len(runs),
        optimizer=optimizers_of(optimizer, settings, runs),
        batch_size=batch_size,
        clip_norm=clip_norm,
        transform=transform,
        schedules=[schedule_of(run, beta_schedule) for run in runs],
        replay=replay,
        compile=compile,
        check=partial(
            _require_sound, pair, held_out, elbo=elbos[0], batch_size=batch_size, transform=transform
        ),
    )
    common = {"batch_size": batch_size, "order": order, "optimizer": str(settings), "samples": len(pair[0])}
    if checkpoint:
        common |= {"data": fingerprint(*pair), "clip_norm": clip_norm}
        functions = {"lr_schedule": lr_schedule, "beta_schedule": beta_schedule, "transform": transform}
        common |= {name: function is not None for name, function in functions.items()}
    path = Path(checkpoint) if checkpoint else None
    made_of |= describe_optimizers(training.optimizers.all)
    kept = RunsCheckpoint(path, common, every=checkpoint_seconds, programs=described, made_of=made_of)
    history = _epochs(training, names, epochs, lr_schedule, kept, on_epoch)
    # After steps, the sets are known to be sound, and a program that has diverged says nothing of them.
    how: dict[str, Any] = {"num_samples": num_samples, "elbo": elbo, "checked": training.has_stepped}
    by_name = dict(zip(names, programs, strict=True))
    measured = {
        name: None if given is None else evaluate_side_by_side(by_name, given, **how)
        for name, given in held_out.items()
    }
    return result_of(
        runs,
        programs,
        history,
        training.diverged,
        **measured,
        not_replayed=training.not_replayed,
    )


def _require_sound(
    data: tuple[Tensor, Tensor], held_out: Mapping[str, object | None], program: nn.Module, **how: Any
) -> None:
    """Raise if a program does not take a set: the one for training, or one to be measured on."""
    require_trainable(program, data, **how)
    require_held_out(program, held_out, how["elbo"])


def _epochs(
    training: SideBySideTraining,
    names: Sequence[str],
    epochs: int,
    lr_schedule: Callable[[int], float] | None,
    checkpoint: RunsCheckpoint,
    on_epoch: Callable[[list[Row]], None] | None,
) -> list[Row]:
    """Train to the end, and close; return the history."""
    training.expect(epochs)
    try:
        history = checkpoint.restore(training)
        if len(history) > epochs * len(names):
            raise ValueError(f"checkpoint is at epoch {len(history) // len(names)}, beyond epochs={epochs}")
        for finished in range(len(history) // len(names), epochs):
            if lr_schedule is not None:
                training.optimizers.set_factor(lr_schedule(finished))
            rates = training.optimizers.rates
            for name, row, rate in zip(names, training.epoch(finished), rates, strict=True):
                history.append({"run": name, "epoch": finished + 1, **row, "lr": rate})
            checkpoint.save(training, history, last=finished + 1 == epochs)
            if on_epoch is not None:
                on_epoch(history)
    finally:
        training.close()
    return history


def _check(runs: Sequence[Run], epochs: int, batch_size: int, order: str) -> None:
    require_known("order=", order, ("own", "shared"))
    require_count("epochs", epochs)
    require_count("batch_size", batch_size)
    require_alike(runs)


def _require_batches_to_norm(program: nn.Module, size: int, batch_size: int) -> None:
    if has_batch_norm(program) and (size % batch_size == 1 or batch_size == 1):
        raise ValueError(
            f"batch_size={batch_size} leaves a batch of a single sample out of {size}, which batch norm cannot "
            "normalise; choose another size"
        )
