"""Whether runs side by side are what each is alone, looked at before the first step on batches of a size."""

from collections.abc import Callable, Sequence
from typing import Any

import pyro
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from ib_pyro.buffers import buffers_kept
from ib_pyro.capture import CaptureError
from ib_pyro.capture.loss_and_gradient import Evaluated, evaluate
from ib_pyro.capture.program_state import ProgramState, modules_within
from ib_pyro.capture.trial import trial
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.side_by_side.lagrangians import Evaluation
from ib_pyro.side_by_side.refusal import VectorizationError, refusal_of
from ib_pyro.side_by_side.sample_sums import scores_of, sums_of
from ib_pyro.side_by_side.stack import Stack
from ib_pyro.side_by_side.streams import Streams
from ib_pyro.training.batch_arguments import Batch
from ib_pyro.training.data_checks import look_at
from ib_pyro.training.graph_leaves import strangers

__all__ = ["require_same_alone", "size_behind", "unreached"]


def size_behind(stack: Stack, x: Tensor, y: Tensor) -> int | None:
    """Return the size of the set that a batch is a subsample of, as the programs' plate says; None if of none.

    All is left as it was.

    Args:
        stack: The programs, of which the first that is finite is asked.
        x: Inputs of a batch, ``[batch, ...]``.
        y: What is observed of them.

    Raises:
        VectorizationError: If the program has parameters in Pyro's store.
    """
    sound = [
        program for program, is_sound in zip(stack.programs, stack.finite_runs(), strict=True) if is_sound
    ]
    for program in sound[:1]:
        with _NoParams():
            found = look_at(program, Batch((x, y), {})).num_data
        if found is not None:
            return found
    return getattr(stack.template, "num_data", None)


def require_same_alone(
    together: Callable[[Tensor, Tensor], Evaluation],
    stack: Stack,
    elbos: Sequence[InformationBottleneckELBO],
    streams: Streams,
    names: Sequence[str],
    batch: tuple[Tensor, Tensor],
    num_data: int | None,
) -> None:
    """Evaluate a batch of each run alone and side by side, with the same noise, and compare all that comes of it.

    Alone, a program has all of its checks, so that what is wrong with it or its data is said as ever. Streams and
    statistics are left where they were. A run that is no longer finite is left out: it is reported as diverged.

    Args:
        together: Evaluates a batch of all runs, as the steps do.
        stack: Their programs.
        elbos: Their objectives.
        streams: Their random numbers.
        names: What they are called.
        batch: Inputs and what is observed of them, ``[runs, batch, ...]`` each.
        num_data: Size of the set that a batch is a subsample of; None if it stands for itself.

    Raises:
        VectorizationError: If the program has parameters in Pyro's store or outside of its modules, keeps something
            from call to call that is no buffer, cannot be run for several at once, or gives another loss, gradient or
            buffer then; names the run.
    """
    states = streams.states
    kept = [tensor.clone() for tensor in stack.others.values()]
    alone = []
    sound = stack.finite_runs()
    for run, (program, elbo) in enumerate(zip(stack.programs, elbos, strict=True)):
        if not sound[run]:
            continue
        with streams.ambient(run), _NoParams(), buffers_kept([program]):
            one = (batch[0][run], batch[1][run])
            found = _evaluated(program, elbo, stack, *one, num_data)
            own = dict((*program.named_parameters(), *program.named_buffers()))
            written = [own[name].detach().clone() for name in stack.others]
        alone.append((run, found, written))
    if sound[0]:
        with streams.ambient(0), _NoParams():
            _require_nothing_kept(stack, elbos[0], batch[0][0], batch[1][0], num_data)
    streams.states = states
    evaluation = together(*batch)
    side_by_side = [tensor.clone() for tensor in stack.others.values()]
    streams.states = states
    for tensor, old in zip(stack.others.values(), kept, strict=True):
        tensor.copy_(old)
    for run, found, written in alone:
        pairs = _pairs(found, evaluation, run, list(stack.parameters))
        pairs += [
            (f"buffer {name!r}", mine, theirs[run])
            for name, mine, theirs in zip(stack.others, written, side_by_side, strict=True)
        ]
        if all(bool(mine.isfinite().all()) for _, mine, _ in pairs):
            _require_same(names[run], pairs, stack.like.dtype)


def _evaluated(
    program: Any,  # noqa: ANN401  (a module with model and guide)
    elbo: InformationBottleneckELBO,
    stack: Stack,
    x: Tensor,
    y: Tensor,
    num_data: int | None,
) -> Evaluated:
    def step(x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        terms = elbo.terms(program.model, program.guide, x, y)
        _require_no_strangers(terms.loss, program)
        whole = num_data or len(x)
        return terms.loss / whole, sums_of(terms, scores_of(terms, y), y, whole)

    by_name = dict(program.named_parameters())
    return evaluate(step, [by_name[name] for name in stack.parameters], (x, y), {})


def _require_nothing_kept(
    stack: Stack, elbo: InformationBottleneckELBO, x: Tensor, y: Tensor, num_data: int | None
) -> None:
    """Raise if a program's second call would change what a third does, other than by its buffers."""
    program = stack.template
    modules = modules_within([program])
    state = ProgramState(modules)
    try:
        with trial(modules, list(program.parameters()), (x, y)):
            _evaluated(program, elbo, stack, x, y, num_data)
    except CaptureError as error:
        raise refusal_of(error) from error
    changes = [change for change in state.changes() if not change.is_harmless]
    if changes:
        raise VectorizationError(
            f"the program cannot be run for several at once: each call changes {changes[0]}, and the runs share the "
            "calls; keep what changes in buffers, or train the runs one by one"
        )


def unreached(
    stack: Stack, run: int, elbo: InformationBottleneckELBO, streams: Streams, x: Tensor, y: Tensor
) -> frozenset[int]:
    """Return the numbers of the parameters that a lone run's loss does not depend on, and leave all as it was."""
    states = streams.states
    with pyro.validation_enabled(False), streams.ambient(run), buffers_kept([stack.programs[run]]):
        # Which it depends on is the same whatever the loss is divided by.
        gradients = _evaluated(stack.programs[run], elbo, stack, x, y, None).gradients
    streams.states = states
    return frozenset(number for number, gradient in enumerate(gradients) if gradient is None)


def _pairs(
    found: Evaluated, evaluation: Evaluation, run: int, parameters: Sequence[str]
) -> list[tuple[str, Tensor, Tensor]]:
    """Return what is to agree: its name, its value alone, and side by side."""
    pairs = [("loss", found.loss, evaluation.loss[run])]
    labels = [name.removeprefix("output['").removesuffix("']") for name in found.names[1:]]
    # A total correlation that has no weight in one run is none of its sums.
    pairs += [(n, alone, evaluation.sums[n][run]) for n, alone in zip(labels, found.outputs, strict=False)]
    for name, gradient, together in zip(parameters, found.gradients, evaluation.gradients, strict=True):
        if gradient is not None:
            other = torch.full_like(gradient, torch.nan) if together is None else together[run]
            pairs.append((f"gradient of {name}", gradient, other))
        elif together is not None:
            pairs.append((f"gradient of {name}", torch.zeros_like(together[run]), together[run]))
    return pairs


def _require_same(name: str, pairs: Sequence[tuple[str, Tensor, Tensor]], dtype: torch.dtype) -> None:
    for label, one, other in pairs:
        precision = torch.finfo(dtype).eps ** 0.5
        # A rate is what is left of large terms, such as nothing of constant noise; in nats of the whole batch.
        if not _agree(one, other, precision, least=1.0 if label.startswith("rate/") else precision):
            shown = f" ({one.item():.8g} alone, {other.item():.8g} side by side)" if one.numel() == 1 else ""
            raise VectorizationError(
                f"run {name}: with the same noise the first {label} is another alone than side by side{shown}; the "
                "program keeps what differs between runs elsewhere than in tensors and numbers of its modules, or "
                "draws in another order. Train the runs one by one"
            )


def _agree(one: Tensor, other: Tensor, precision: float, *, least: float) -> bool:
    """Whether tensors are the same to rounding, measured by the largest of their values and ``least``."""
    if not one.is_floating_point():
        return torch.equal(one, other)
    finite = one[one.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    tolerance = precision * (largest + least)
    return bool(torch.isclose(one, other.to(one.dtype), rtol=0.0, atol=tolerance, equal_nan=True).all())


def _require_no_strangers(loss: Tensor, program: nn.Module) -> None:
    """Raise if a loss depends on a parameter that is not the program's, which would be the same for all runs."""
    if found := strangers(loss, program.parameters()):
        raise VectorizationError(
            f"the loss depends on a parameter of shape {tuple(found[0].shape)} that is not in the program's modules, "
            "so that runs would share it; make it an attribute of the program, which each run has of its own"
        )


class _NoParams(Messenger):
    """Refuse parameters of Pyro's store, which goes by name and has one for all runs."""

    def _pyro_param(self, msg: dict[str, Any]) -> None:
        raise VectorizationError(
            f"pyro.param {msg['name']!r}: runs side by side would share what Pyro's parameter store has under a name; "
            "keep parameters in modules (nn.Parameter, or PyroParam under "
            "pyro.settings.set(module_local_params=True)), or train the runs one by one"
        )
