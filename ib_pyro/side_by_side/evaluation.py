"""One evaluation of the Lagrangians of several programs, with the gradient of each: eager, or from a recording."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.func import functional_call, vmap

from ib_pyro.capture.evaluation import laid_out_as
from ib_pyro.capture.recording import CaptureError, record
from ib_pyro.capture.simplification import simplify
from ib_pyro.elbo import Terms
from ib_pyro.handlers import noise_off, unwrap
from ib_pyro.precision import widest
from ib_pyro.side_by_side.refusal import VectorizationError
from ib_pyro.side_by_side.stack import Stack
from ib_pyro.side_by_side.streams import BatchedDraws, PerRunDraws, Streams, drawing_nodes, with_streams
from ib_pyro.side_by_side.weights import Objectives

__all__ = ["Evaluation", "Lagrangians", "scores_of", "sums_of"]


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


class _OneRun(nn.Module):
    """The program that is run for all, as a module with the stack's names."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.program = stack.template

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401  (whatever it returns)
        return function(self.program, *args)


class Lagrangians:
    """The mean Lagrangian of each of several runs on a batch of its own, and its gradient.

    The programs' Python runs once for all: ``torch.func.vmap`` gives each operation all runs at once. Random numbers
    come from each run's own stream, and what batch norm writes goes to each run's own statistics.

    Args:
        stack: The programs.
        objectives: Their objectives.
        streams: Their random numbers.
    """

    def __init__(self, stack: Stack, objectives: Objectives, streams: Streams) -> None:
        self._stack, self._objectives, self._streams = stack, objectives, streams
        self._module = _OneRun(stack)
        self._recordings: dict[object, tuple[Callable[..., Any], list[str], list[bool]]] = {}
        self._labels: list[str] = []
        self._has_gradient: list[bool] = []

    def __call__(self, x: Tensor, y: Tensor, *, replay: bool = False) -> Evaluation:
        """Evaluate a batch of each run.

        Args:
            x: Inputs, ``[runs, batch, ...]``.
            y: What is observed of them, ``[runs, batch, ...]``.
            replay: Whether to replay the tensor operations from a recording, which is made if there is none.

        Raises:
            VectorizationError: If the program cannot be run for all at once; says why.
        """
        inputs = self._inputs(x, y)
        if not replay:
            with pyro.validation_enabled(False), PerRunDraws(self._streams):
                results = self._flat(*inputs)
            return self._evaluation(results, self._labels, self._has_gradient)
        key = self._key(x, y)
        if key not in self._recordings:
            self._recordings[key] = self._record(inputs)
        run, labels, has_gradient = self._recordings[key]
        with torch._C._AutoDispatchBelowAutograd():
            results = run(*inputs)
        return self._evaluation(results, labels, has_gradient)

    def has_recording(self, x: Tensor, y: Tensor) -> bool:
        """Whether a batch of such a size would be replayed from a recording that is there."""
        return self._key(x, y) in self._recordings

    @torch.no_grad()
    def measure(self, x: Tensor, y: Tensor, *, without_noise: bool = False) -> tuple[dict[str, Tensor], Tensor | None]:
        """Return the sums of a batch and the classes' scores, ``[runs, batch, classes]``, without gradients.

        Args:
            x: Inputs, ``[runs, batch, ...]``.
            y: What is observed of them.
            without_noise: Whether to switch the noise off.
        """
        inputs = self._inputs(x, y)
        quiet: AbstractContextManager[object] = noise_off() if without_noise else nullcontext()
        with pyro.validation_enabled(False), PerRunDraws(self._streams), quiet:
            _, sums, scores = self._over_runs(*self._parts(inputs), with_scores=True)
        return sums, scores[0] if scores else None

    def _key(self, x: Tensor, y: Tensor) -> object:
        # A batch that all runs share has no stride over them.
        return x.shape, y.shape, x.stride(), self._objectives.kind

    def _inputs(self, x: Tensor, y: Tensor) -> list[Tensor]:
        stack = self._stack
        lifted = [entry.values for entry in stack.lifted]
        return [*stack.parameters.values(), *stack.others.values(), *self._objectives.numbers, *lifted, x, y]

    def _parts(self, inputs: Sequence[Tensor]) -> tuple[Any, ...]:
        """Take apart what :meth:`_inputs` gives."""
        rest, parts = list(inputs), []
        stack = self._stack
        sizes = len(stack.parameters), len(stack.others), len(self._objectives.numbers), len(stack.lifted)
        for size in sizes:
            parts.append(rest[:size])
            rest = rest[size:]
        return (*parts, *rest)

    def _over_runs(
        self,
        parameters: list[Tensor],
        others: list[Tensor],
        numbers: list[Tensor],
        lifted: list[Tensor],
        x: Tensor,
        y: Tensor,
        with_scores: bool = False,
    ) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
        names = [f"program.{name}" for name in (*self._stack.parameters, *self._stack.others)]

        def one(tensors: list[Tensor], *args: Any) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
            state = dict(zip(names, tensors, strict=True))
            found: tuple[Tensor, dict[str, Tensor], list[Tensor]] = functional_call(
                self._module, state, (self._one, *args)
            )
            return found if with_scores else (*found[:2], [])

        try:
            with BatchedDraws():
                results = vmap(one, randomness="different")([*parameters, *others], numbers, lifted, x, y)
        except VectorizationError:
            raise
        except (RuntimeError, NotImplementedError) as error:
            raise VectorizationError(_describe(error)) from error
        return results

    def _one(
        self, program: Any, numbers: list[Tensor], lifted: list[Tensor], x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
        elbo = self._objectives.with_numbers(numbers)
        with self._stack.with_attributes(lifted):
            terms = elbo.terms(program.model, program.guide, x, y)
        scores = scores_of(terms, y)
        # Pyro's loss is a sum over the batch, or over the whole set of which the batch stands for a share.
        loss = terms.loss / (getattr(program, "num_data", None) or len(x))
        return loss, sums_of(terms, scores, y), [] if scores is None else [scores]

    def _flat(self, *inputs: Tensor) -> list[Tensor]:
        """Return losses, sums and gradients, and note what they are."""
        parameters, *rest = self._parts(inputs)
        leaves = [parameter.detach().requires_grad_() for parameter in parameters]
        with torch.enable_grad():
            loss, sums, _ = self._over_runs(leaves, *rest)
        gradients: list[Tensor | None] = [None] * len(leaves)
        if leaves and loss.requires_grad:
            ones = torch.ones_like(loss)
            found = torch.autograd.grad(loss, leaves, ones, allow_unused=True)
            gradients = [g if g is None else laid_out_as(p, g) for p, g in zip(leaves, found, strict=True)]
        self._labels, self._has_gradient = list(sums), [gradient is not None for gradient in gradients]
        sums_found = [value.detach() for value in sums.values()]
        return [loss.detach(), *sums_found, *(g for g in gradients if g is not None)]

    def _record(self, inputs: Sequence[Tensor]) -> tuple[Callable[..., Any], list[str], list[bool]]:
        learned = len(self._stack.parameters)
        written = learned + len(self._stack.others)
        # What is written to while it is recorded are copies; random numbers come from anywhere then.
        given = [*inputs[:learned], *(b.clone() for b in inputs[learned:written]), *inputs[written:]]
        devices = [inputs[-2].device] if inputs[-2].device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            try:
                graph = record(lambda *tensors: tuple(self._flat(*tensors)), given)
            except CaptureError as error:
                raise VectorizationError(str(error)) from error
        draws = drawing_nodes(graph)
        simplify(graph)
        with_streams(graph, draws, self._streams)
        return graph.forward, self._labels, self._has_gradient

    def _evaluation(
        self, results: Sequence[Tensor], labels: list[str], has_gradient: list[bool]
    ) -> Evaluation:
        last = 1 + len(labels)
        found = iter(results[last:])
        gradients = [next(found) if has else None for has in has_gradient]
        return Evaluation(results[0], dict(zip(labels, results[1:last], strict=True)), gradients)


def scores_of(terms: Terms, y: Tensor) -> Tensor | None:
    """Return the score of each class, ``[batch, classes]``, if y are labels of the one thing that is observed."""
    if len(terms.likelihood) != 1 or y.dim() != 1 or y.is_floating_point():
        return None
    law = unwrap(next(iter(terms.likelihood.values())))
    if not isinstance(law, Categorical) or law.logits.dim() != 2:
        return None
    return law.logits.detach()


def sums_of(terms: Terms, scores: Tensor | None, y: Tensor) -> dict[str, Tensor]:
    """Return the sums over a batch of what terms say of its samples, and the number of classes that are wrong."""
    wide = widest(terms.distortion.device)
    sums = {"distortion": terms.distortion.detach().sum(dtype=wide)}
    sums |= {f"rate/{site}": rate.detach().sum(dtype=wide) for site, rate in terms.rate.items()}
    for site, value in terms.total_correlation.items():
        sums[f"total_correlation/{site}"] = value.detach().to(wide) * len(y)
    if scores is not None:
        sums["error"] = (scores.argmax(-1) != y).sum().to(wide)
    return sums


def _describe(error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    looks = "calling .item()" in reason or "data-dependent" in reason
    why = "it looks at a value of a tensor, which side by side are several at once, one a run" if looks else reason
    way_out = (
        "write it with tensor operations (torch.where, masks); of total_correlation='gaussian' say the space, as in "
        "GaussianTotalCorrelation(space='identity')"
        if looks
        else "torch.func.vmap does not take this operation"
    )
    return f"the program cannot be run for several at once: {why} ({way_out}), or train the runs one by one"
