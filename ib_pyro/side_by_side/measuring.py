"""What trained programs do on a set: several of one structure at once, or one alone, with the same numbers."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from ib_pyro.data import batches
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.handlers import warn_if_noise_is_off
from ib_pyro.side_by_side.building import pair_of
from ib_pyro.side_by_side.first_step import size_behind
from ib_pyro.side_by_side.lagrangians import Lagrangians
from ib_pyro.side_by_side.run_batches import placed, repeated
from ib_pyro.side_by_side.run_objectives import Objectives
from ib_pyro.side_by_side.sample_sums import scores_of, sums_of
from ib_pyro.side_by_side.sound_data import require_measurable, require_of_some
from ib_pyro.side_by_side.stack import Stack
from ib_pyro.side_by_side.streams import Streams
from ib_pyro.training.batch_arguments import Batch
from ib_pyro.training.data_checks import look_at

__all__ = ["evaluate_alone", "evaluate_side_by_side", "require_held_out"]

BATCH_SIZE = 1000
FIRST = ("distortion", "rate", "error", "error_predictive")
Measure = Callable[[Tensor, Tensor], tuple[dict[str, Tensor], Tensor | None]]


def evaluate_side_by_side(
    programs: Sequence[nn.Module] | Mapping[str, nn.Module],
    data: object,
    *,
    num_samples: int = 16,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    elbo: InformationBottleneckELBO | None = None,
    checked: bool = False,
) -> list[dict[str, float]]:
    """Evaluate programs of one structure on a set, with the noise on, and batch norm in its mode of evaluation.

    Each has the numbers that it would have alone under ``torch.manual_seed(seed)``, to rounding.

    Args:
        programs: Programs, such as ``train_side_by_side(...).programs``; left in evaluation mode.
        data: The set: anything with tensors ``x`` and ``y``, or the pair of them.
        num_samples: Draws of the posterior predictive; 1 leaves that out.
        batch_size: Samples at a time.
        seed: Seed of the noise, the same for all.
        elbo: How rates are taken; its weights and penalty do not count.
        checked: Whether the set is known to be what the programs take; otherwise one of them goes over it first.

    Returns:
        For each program: ``distortion``, ``rate`` and ``rate/<site>`` in nats per sample under one draw of noise a
        sample; where y are classes ``error``, the share that this draw gets wrong, and ``error_predictive``, that of
        the mean of the predicted probabilities over the draws.

    Raises:
        VectorizationError: If they are not of one structure, or cannot be run at once; says why.
        ValueError: If ``num_samples`` is below 1, or the programs do not take the set, such as targets that are no
            values of their likelihood.
    """
    warn_if_noise_is_off("evaluate_side_by_side", stacklevel=2)
    if not isinstance(programs, Mapping):
        programs = {f"program {number}": program for number, program in enumerate(programs, 1)}
    every, names = list(programs.values()), list(programs)
    for program in every:
        program.eval()
    stack = Stack(every, names)
    try:
        like, runs = stack.like, len(every)
        streams = Streams.seeded([seed] * runs, like.device)
        plain = _unweighted(elbo)
        if not checked:
            require_of_some(
                every,
                partial(require_measurable, data=data, elbo=plain, batch_size=batch_size, name="data"),
            )
        elbos = [plain] * runs
        with pyro.validation_enabled(False):  # a program that has diverged has its plates, too
            num_data = size_behind(stack, *_first(data, batch_size, like))
        lagrangians = Lagrangians(stack, Objectives(elbos, names, like), streams, num_data=num_data)
        return _measured(lagrangians.measure, data, runs, like, num_samples, batch_size)
    finally:
        stack.release()


def evaluate_alone(
    program: Any,  # noqa: ANN401  (a module with model and guide)
    data: object,
    *,
    num_samples: int = 16,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    elbo: InformationBottleneckELBO | None = None,
    checked: bool = False,
) -> dict[str, float]:
    """Evaluate one program as :func:`evaluate_side_by_side` does, which cannot take every program.

    Args:
        program: The program; left in evaluation mode.
        data: The set.
        num_samples: Draws of the posterior predictive; 1 leaves that out.
        batch_size: Samples at a time.
        seed: Seed of the noise.
        elbo: How rates are taken.
        checked: Whether the set is known to be what the program takes.
    """
    program.eval()
    like = next((p for p in program.parameters() if p.is_floating_point()), torch.zeros(()))
    objective, streams = _unweighted(elbo), Streams.seeded([seed], like.device)
    if not checked:
        require_measurable(program, data, elbo=objective, batch_size=batch_size, name="data")
    with pyro.validation_enabled(False):
        look = look_at(program, Batch(_first(data, batch_size, like), {}))
    num_data = look.num_data or getattr(program, "num_data", None)

    @torch.no_grad()
    def measure(x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        with streams.ambient(0), pyro.validation_enabled(False):
            terms = objective.terms(program.model, program.guide, x[0], y[0])
        scores = scores_of(terms, y[0])
        found = sums_of(terms, scores, y[0], num_data or y.shape[1])
        sums = {name: value.unsqueeze(0) for name, value in found.items()}
        return sums, None if scores is None else scores.unsqueeze(0)

    return _measured(measure, data, 1, like, num_samples, batch_size)[0]


def require_held_out(
    program: nn.Module, held_out: Mapping[str, object | None], elbo: InformationBottleneckELBO | None
) -> None:
    """Make sure of sets that programs are to be measured on, before they are trained.

    Args:
        program: A program; left as it is.
        held_out: The sets by what messages call them; None for none.
        elbo: How rates are taken.

    Raises:
        ValueError: If the program does not take one of them.
    """
    for name, data in held_out.items():
        if data is not None:
            require_measurable(program, data, elbo=_unweighted(elbo), batch_size=BATCH_SIZE, name=name)


def _first(data: object, batch_size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    x, y = pair_of(data)
    return placed(x[:batch_size], like), placed(y[:batch_size], like)


def _unweighted(elbo: InformationBottleneckELBO | None) -> InformationBottleneckELBO:
    plain = copy(elbo or InformationBottleneckELBO())
    plain.beta, plain.gamma, plain.penalty = 1.0, 0.0, None
    return plain


def _measured(
    measure: Measure, data: object, runs: int, like: Tensor, num_samples: int, batch_size: int
) -> list[dict[str, float]]:
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1; got {num_samples}")
    totals: dict[str, Any] = {}
    size = 0
    for x, y in batches(data, batch_size, shuffle=False):
        size += len(x)
        x, y = (repeated(placed(values, like), runs) for values in (x, y))
        sums, scores = measure(x, y)
        if scores is not None and num_samples > 1:
            others = [measure(x, y)[1] for _ in range(num_samples - 1)]
            mean = torch.stack([draw.softmax(-1) for draw in (scores, *others) if draw is not None]).mean(0)
            sums["error_predictive"] = (mean.argmax(-1) != y).sum(-1)
        sums.pop("loss", None)  # at weights of 1
        for name, value in sums.items():
            totals[name] = totals.get(name, 0.0) + value
    rows = [{name: float(value[run]) / size for name, value in totals.items()} for run in range(runs)]
    for row in rows:
        row["rate"] = sum(value for name, value in row.items() if name.startswith("rate/"))
    return [{**{n: row[n] for n in FIRST if n in row}, **row} for row in rows]
