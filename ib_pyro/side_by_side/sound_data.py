"""Whether sets are what programs take, found out with one of them before anything is done with all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy

import torch
from torch import Tensor, nn

from ib_pyro.buffers import buffers_kept
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.side_by_side.building import pair_of
from ib_pyro.side_by_side.run_batches import Transform
from ib_pyro.training.batch_arguments import Batch, Placement
from ib_pyro.training.data_checks import check_steps, look_at, transformed
from ib_pyro.training.finite_data import require_finite_loss
from ib_pyro.training.programs import model_and_guide
from ib_pyro.training.randomness import seeded
from ib_pyro.training.sound_set import trying
from ib_pyro.training.sources import source_of

__all__ = ["require_measurable", "require_of_some", "require_trainable"]


def require_of_some(programs: Sequence[nn.Module], check: Callable[[nn.Module], None]) -> None:
    """Raise what a check says of a set, unless it is content with it by some program.

    A program that has diverged refuses any set, which is its own fault; one whose parameters are not finite is not
    asked.

    Args:
        programs: Programs that are to take the set.
        check: Raises a ``ValueError`` if a program does not take it.
    """
    refusals = []
    for program in programs:
        if not all(bool(parameter.isfinite().all()) for parameter in program.parameters()):
            continue
        try:
            return check(program)
        except ValueError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]
    return None


def require_trainable(
    program: nn.Module,
    data: tuple[Tensor, Tensor],
    *,
    elbo: InformationBottleneckELBO,
    batch_size: int,
    transform: Transform | None = None,
) -> None:
    """Make sure of a training set as :func:`ib_pyro.fit` does: all of it, and not its first batch alone.

    Buffers, modes and the ambient generators are left as they are.

    Args:
        program: A program, in the mode of training.
        data: Inputs and what is observed of them.
        elbo: Its objective.
        batch_size: Samples in a step.
        transform: What a step sees of a batch.

    Raises:
        ValueError: If some target is no value of its likelihood, or what is not finite reaches the loss.
    """
    device = next((parameter.device for parameter in program.parameters()), None)
    source, placement = source_of(data, batch_size=batch_size, device=device), Placement(program)
    apart = _without_correlation(elbo)

    def seen(batch: Batch) -> Batch:
        return placement(transformed(batch, transform))

    with seeded(0), torch.no_grad(), buffers_kept([program]):
        require_finite_loss(source, lambda batch: _loss(program, seen(batch), apart))
        first = seen(source.first())
    check_steps(
        look_at(program, first), source, placement, elbo=elbo, batch_size=batch_size, transform=transform
    )


def require_measurable(
    program: nn.Module,
    data: object,
    *,
    elbo: InformationBottleneckELBO,
    batch_size: int,
    name: str,
) -> None:
    """Make sure of a set to measure programs on, by a pass over it with all the checks that a lone program has.

    Buffers, modes and the ambient generators are left as they are.

    Args:
        program: A program.
        data: The set.
        elbo: How rates are taken.
        batch_size: Samples at a time.
        name: What messages call the set.

    Raises:
        ValueError: If the program does not take it; says which set it is, and what is wrong with it.
    """
    source, placement = source_of(pair_of(data), batch_size=batch_size, name=name), Placement(program)
    with trying(program, name):
        require_finite_loss(source, lambda batch: _loss(program, placement(batch), elbo))
        for batch in map(placement, source):
            elbo.terms(*model_and_guide(program), *batch.args)


def _loss(program: nn.Module, batch: Batch, elbo: InformationBottleneckELBO) -> Tensor:
    return elbo.differentiable_loss(*model_and_guide(program), *batch.args)


def _without_correlation(elbo: InformationBottleneckELBO) -> InformationBottleneckELBO:
    """Return an objective for a few samples, which may be too few for a total correlation."""
    plain = copy(elbo)
    plain.gamma = 0.0
    return plain
