"""One evaluation of the Lagrangians of several programs, with the gradient of each: eager, or from a recording."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyro
import torch
from torch import Tensor
from torch.func import vmap
from torch.fx import GraphModule, Node

from ib_pyro.capture.compilation import compiled
from ib_pyro.capture.loss_and_gradient import laid_out_as
from ib_pyro.capture.recording import CaptureError, record
from ib_pyro.capture.simplification import simplify
from ib_pyro.handlers import handlers_around, noise_off
from ib_pyro.side_by_side.batched import BatchedOperations
from ib_pyro.side_by_side.products import turn_products
from ib_pyro.side_by_side.refusal import VectorizationError, refusal_of
from ib_pyro.side_by_side.run_objectives import Objectives
from ib_pyro.side_by_side.sample_sums import scores_of, sums_of
from ib_pyro.side_by_side.stack import Stack
from ib_pyro.side_by_side.streams import PerRunDraws, Streams, drawing_nodes, drawn_before, with_streams

__all__ = ["Evaluation", "Lagrangians"]


@dataclass(frozen=True)
class Evaluation:
    """What a batch gives.

    Attributes:
        loss: Mean loss of each run's batch, ``[runs]``.
        sums: Sums over the batch by name, ``[runs]`` each: ``distortion`` and ``rate/<site>`` in nats,
            ``total_correlation/<site>`` times the number of samples, and ``error``, the number of samples whose class
            is not the one with the highest score, where y are classes.
        gradients: That of each run's loss in its parameters, ``[runs, ...]``; None where it does not depend on one.
    """

    loss: Tensor
    sums: dict[str, Tensor]
    gradients: list[Tensor | None]


class _Parts(NamedTuple):
    parameters: list[Tensor]
    others: list[Tensor]
    numbers: list[Tensor]
    lifted: list[Tensor]
    x: Tensor
    y: Tensor


class _Recording(NamedTuple):
    run: Callable[..., Any]
    labels: list[str]
    has_gradient: list[bool]


class Lagrangians:
    """The mean Lagrangian of each of several runs on a batch of its own, and its gradient.

    The programs' Python runs once for all: ``torch.func.vmap`` gives each operation all runs at once. Random numbers
    come from each run's own stream, and what batch norm writes goes to each run's own statistics.

    Args:
        stack: The programs.
        objectives: Their objectives.
        streams: Their random numbers.
        num_data: Size of the set that a batch is a subsample of, as their plate says; None if a batch stands for
            itself.
    """

    def __init__(
        self, stack: Stack, objectives: Objectives, streams: Streams, *, num_data: int | None = None
    ) -> None:
        self._stack, self._objectives, self._streams = stack, objectives, streams
        self._num_data = num_data
        self._recordings: dict[object, _Recording] = {}
        self._labels: list[str] = []
        self._has_gradient: list[bool] = []

    def __call__(self, x: Tensor, y: Tensor, *, replay: bool = False, compile: bool = False) -> Evaluation:
        """Evaluate a batch of each run.

        Args:
            x: Inputs, ``[runs, batch, ...]``.
            y: What is observed of them, ``[runs, batch, ...]``.
            replay: Whether to replay the tensor operations from a recording, which is made if there is none.
            compile: Whether a recording that is made is compiled, see :func:`ib_pyro.capture.compilation.compiled`.

        Raises:
            VectorizationError: If the program cannot be run for all at once; says why.
        """
        inputs = self._inputs(x, y)
        if not replay:
            with pyro.validation_enabled(False), PerRunDraws(self._streams):
                results = self._flat(*inputs)
            return self._evaluation(results, self._labels, self._has_gradient)
        if around := handlers_around():
            raise VectorizationError(
                f"steps are to be replayed within {', '.join(around)}, which a recording of tensor operations "
                "does not see; put the handler around model and guide, or leave replay='on' out"
            )
        key = self._key(x, y)
        if key not in self._recordings:
            self._recordings[key] = self._record(inputs, compile)
        run, labels, has_gradient = self._recordings[key]
        with torch._C._AutoDispatchBelowAutograd():
            results = run(*inputs)
        return self._evaluation(results, labels, has_gradient)

    def has_recording(self, x: Tensor, y: Tensor) -> bool:
        """Whether a batch of such a size would be replayed from a recording that is there."""
        return self._key(x, y) in self._recordings

    @torch.no_grad()
    def measure(
        self, x: Tensor, y: Tensor, *, without_noise: bool = False
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Return the sums of a batch, with its loss, and the classes' scores, ``[runs, batch, classes]``.

        Args:
            x: Inputs, ``[runs, batch, ...]``.
            y: What is observed of them.
            without_noise: Whether to switch the noise off.
        """
        inputs = self._inputs(x, y)
        quiet: AbstractContextManager[object] = noise_off() if without_noise else nullcontext()
        with pyro.validation_enabled(False), PerRunDraws(self._streams), quiet:
            loss, sums, scores = self._over_runs(self._parts(inputs), with_scores=True)
        sums = {"loss": loss.to(sums["distortion"].dtype) * x.shape[1], **sums}
        return sums, scores[0] if scores else None

    def _key(self, x: Tensor, y: Tensor) -> object:
        # A batch that all runs share has no stride over them.
        return x.shape, y.shape, x.stride(), self._objectives.kind

    def _inputs(self, x: Tensor, y: Tensor) -> list[Tensor]:
        stack = self._stack
        lifted = [entry.values for entry in stack.lifted]
        return [*stack.parameters.values(), *stack.others.values(), *self._objectives.numbers, *lifted, x, y]

    def _parts(self, inputs: Sequence[Tensor]) -> _Parts:
        """Take apart what :meth:`_inputs` gives."""
        remaining = iter(inputs)
        stack = self._stack
        groups = stack.parameters, stack.others, self._objectives.numbers, stack.lifted
        parameters, others, numbers, lifted = ([next(remaining) for _ in group] for group in groups)
        return _Parts(parameters, others, numbers, lifted, *remaining)

    def _over_runs(
        self, parts: _Parts, *, with_scores: bool = False
    ) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
        def one(tensors: list[Tensor], *args: Any) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
            found = self._one(tensors, *args)
            return found if with_scores else (*found[:2], [])

        try:
            with BatchedOperations():
                state = [*parts.parameters, *parts.others]
                rest = parts.numbers, parts.lifted, parts.x, parts.y
                results = vmap(one, randomness="different")(state, *rest)
        except VectorizationError:
            raise
        except (RuntimeError, NotImplementedError) as error:
            raise VectorizationError(_describe(error)) from error
        return results

    def _one(
        self,
        tensors: list[Tensor],
        numbers: list[Tensor],
        lifted: list[Tensor],
        x: Tensor,
        y: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
        program: Any = self._stack.template
        elbo = self._objectives.with_numbers(numbers)
        with self._stack.as_run(tensors, lifted):
            terms = elbo.terms(program.model, program.guide, x, y)
        scores = scores_of(terms, y)
        # Pyro's loss is a sum over the batch, or over the whole set of which the batch stands for a share.
        whole = self._num_data or len(x)
        return terms.loss / whole, sums_of(terms, scores, y, whole), [] if scores is None else [scores]

    def _flat(self, *inputs: Tensor) -> list[Tensor]:
        """Return losses, sums and gradients, and note what they are."""
        parts = self._parts(inputs)
        leaves = [parameter.detach().requires_grad_() for parameter in parts.parameters]
        with torch.enable_grad():
            loss, sums, _ = self._over_runs(parts._replace(parameters=leaves))
        gradients: list[Tensor | None] = [None] * len(leaves)
        if leaves and loss.requires_grad:
            ones = torch.ones_like(loss)
            found = torch.autograd.grad(loss, leaves, ones, allow_unused=True)
            gradients = [g if g is None else laid_out_as(p, g) for p, g in zip(leaves, found, strict=True)]
        self._labels, self._has_gradient = list(sums), [gradient is not None for gradient in gradients]
        sums_found = [value.detach() for value in sums.values()]
        return [loss.detach(), *sums_found, *(g for g in gradients if g is not None)]

    def _record(self, inputs: Sequence[Tensor], compile: bool) -> _Recording:
        learned = len(self._stack.parameters)
        written = learned + len(self._stack.others)
        # What is written to while it is recorded are copies; random numbers come from anywhere then.
        given = [*inputs[:learned], *(b.clone() for b in inputs[learned:written]), *inputs[written:]]
        devices = [inputs[-2].device] if inputs[-2].device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            try:
                graph = record(lambda *tensors: tuple(self._flat(*tensors)), given)
            except CaptureError as error:
                raise refusal_of(error) from error
        draws = drawing_nodes(graph)
        simplify(graph)
        turn_products(graph)
        if compile:
            run = self._compiled(graph, draws, given)
        else:
            with_streams(graph, draws, self._streams)
            run = graph.forward
        return _Recording(run, self._labels, self._has_gradient)

    def _compiled(
        self, graph: GraphModule, draws: Sequence[tuple[Node, Any]], given: Sequence[Tensor]
    ) -> Callable[..., list[Tensor]]:
        draw = drawn_before(graph, draws, self._streams)
        states = self._streams.states
        try:
            run = compiled(graph, [*given, *draw()])
        except CaptureError as error:
            raise VectorizationError(str(error)) from error
        finally:
            self._streams.states = states
        return lambda *inputs: run(*inputs, *draw())

    def _evaluation(
        self, results: Sequence[Tensor], labels: list[str], has_gradient: list[bool]
    ) -> Evaluation:
        last = 1 + len(labels)
        found = iter(results[last:])
        gradients = [next(found) if has else None for has in has_gradient]
        return Evaluation(results[0], dict(zip(labels, results[1:last], strict=True)), gradients)


def _describe(error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    looks = "calling .item()" in reason or "data-dependent" in reason
    why = (
        "it looks at a value of a tensor, which side by side are several at once, one a run"
        if looks
        else reason
    )
    way_out = (
        "write it with tensor operations (torch.where, masks); of total_correlation='gaussian' say the space, as in "
        "GaussianTotalCorrelation(space='identity')"
        if looks
        else "torch.func.vmap does not take this operation"
    )
    return f"the program cannot be run for several at once: {why} ({way_out}), or train the runs one by one"
