"""What runs are made of: their programs under their seeds, their objectives, schedules and optimisers."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from ib_pyro.data import batches
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.side_by_side.refusal import VectorizationError
from ib_pyro.side_by_side.run_optimizers import OptimizerFactory, OptimizerSettings
from ib_pyro.side_by_side.runs import Run
from ib_pyro.side_by_side.streams import Streams
from ib_pyro.training.programs import as_program

__all__ = ["build_programs", "objective_of", "optimizers_of", "pair_of", "program_and_state", "schedule_of"]

Weight = float | Mapping[str, float]


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
    built = [program_and_state(make_program, run, device=device) for run in runs]
    where = next((p.device for p in built[-1][0].parameters()), torch.device("cpu"))
    streams = Streams.seeded([run.seed for run in runs], where)
    streams.states = [state for _, state in built]
    return [program for program, _ in built], streams


def program_and_state(
    make_program: Callable[..., nn.Module], run: Run, *, device: torch.device | str | None = None
) -> tuple[nn.Module, Tensor]:
    """Build a run's program under its seed; return it, and the state of the generator of its device thereafter.

    Raises:
        TypeError: If ``make_program`` is no function, or returns no program.
    """
    if isinstance(make_program, nn.Module) or not callable(make_program):
        raise TypeError(
            f"make_program: a {type(make_program).__name__} builds no programs, and each run needs a new one; pass a "
            "function that returns it, such as `lambda: Bottleneck(...)`"
        )
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        program = as_program(make_program(**run.options), name="make_program()")
        if device is not None:
            program.to(device)
        where = next((p.device for p in program.parameters()), torch.device("cpu"))
        on_gpu = where.type == "cuda"
        return program, torch.cuda.get_rng_state(where) if on_gpu else torch.get_rng_state()


def objective_of(elbo: InformationBottleneckELBO | None, run: Run) -> InformationBottleneckELBO:
    """Return a run's objective: what is common to all, with its weights.

    Raises:
        ValueError: If what is common to all has other weights.
    """
    new = copy(elbo or InformationBottleneckELBO())
    for name, unset in (("beta", 1.0), ("gamma", 0.0)):
        given, own = getattr(new, name), getattr(run, name)
        if not _is_same(given, unset) and not _is_same(given, own):
            raise ValueError(
                f"elbo: {name}={given} stands in it, and {name}={own} in the run {run.name}; give it to the runs, and "
                "leave it out of elbo="
            )
        setattr(new, name, own)
    if new.penalty is not None:
        new.penalty = copy(new.penalty)
    return new


def optimizers_of(
    optimizer: str | OptimizerFactory, settings: OptimizerSettings, runs: Sequence[Run]
) -> Sequence[OptimizerSettings] | OptimizerFactory:
    """Return each run's optimiser, with its own learning rate if it has one.

    Raises:
        VectorizationError: If the optimiser is made by a function, which cannot know a run's learning rate.
    """
    if isinstance(optimizer, str):
        return [settings if run.lr is None else replace(settings, lr=run.lr) for run in runs]
    if any(run.lr is not None for run in runs):
        raise VectorizationError(
            "optimizer is a function, and some runs have a learning rate of their own, which it cannot know; pass "
            'optimizer="sgd" or "adam"'
        )
    return optimizer


def schedule_of(run: Run, share: Callable[[float], float] | None) -> dict[str, Callable[[float], Weight]]:
    """Return the schedule of a run's beta, which is its target times a share; nothing without one."""
    return {} if share is None else {"beta": partial(_scaled, run.beta, share)}


def pair_of(data: object) -> tuple[Tensor, Tensor]:
    """Return inputs and what is observed of them.

    Raises:
        ValueError: If the data have more, or fewer, tensors.
    """
    tensors = batches(data, 1, shuffle=False).tensors
    if len(tensors) != 2:
        raise ValueError(
            f"data: {len(tensors)} tensors, but a program takes inputs x and what is observed, y"
        )
    return tensors[0], tensors[1]


def _is_same(weight: object, other: object) -> bool:
    """Whether two weights are the same numbers; that of a sample each is the same as no other."""
    if isinstance(weight, Mapping) and isinstance(other, Mapping):
        return weight.keys() == other.keys() and all(_is_same(weight[site], other[site]) for site in weight)
    if any(
        isinstance(each, Mapping) or (isinstance(each, Tensor) and each.numel() != 1)
        for each in (weight, other)
    ):
        return False
    return float(weight) == float(other)  # type: ignore[arg-type]


def _scaled(beta: Weight, share: Callable[[float], float], epoch: float) -> Weight:
    factor = share(epoch)
    if isinstance(beta, Mapping):
        return {site: factor * value for site, value in beta.items()}
    return factor * beta
