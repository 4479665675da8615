"""A function of modules and tensors with its gradient, recorded as one graph and replayed."""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import pyro
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_unflatten

from ib_pyro.buffers import modules_behind
from ib_pyro.capture.call import Call, as_recorded, flattened, key_of, without_casts
from ib_pyro.capture.compilation import compiled
from ib_pyro.capture.hooks import require_no_hooks
from ib_pyro.capture.loss_and_gradient import Evaluated, agree, evaluate
from ib_pyro.capture.program_state import ProgramState, modules_within
from ib_pyro.capture.recording import CaptureError, record, strangers
from ib_pyro.capture.simplification import simplify, written_constants
from ib_pyro.capture.trial import Trial, seed_otherwise, trial
from ib_pyro.handlers import handlers_around

__all__ = ["CapturedGradient", "Identity", "Replay", "Settings"]

MOST_RECORDINGS = 8
"""Recordings for arguments of one shape, after which something is taken to change at every step."""

RECORDING = threading.RLock()

Function = Callable[..., tuple[Tensor, Any]]


class Settings(NamedTuple):
    """What a function takes beside its arguments.

    Attributes:
        kind: What leads to another recording if it changes; hashable.
        numbers: What need not.
    """

    kind: object = None
    numbers: tuple[float, ...] = ()


class Identity:
    """A tensor as what a recording was made for: equal to itself alone, whatever its values."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self.tensor is other.tensor

    def __hash__(self) -> int:
        return id(self.tensor)


class Replay(NamedTuple):
    """What a replay gives.

    Attributes:
        loss: The loss, a scalar without graph.
        outputs: What else the function returns, without graph.
        parameters: The parameters that require a gradient.
        gradients: That of the loss in each; None where the loss does not depend on it.
    """

    loss: Tensor
    outputs: Any
    parameters: Sequence[Tensor]
    gradients: list[Tensor | None]


@dataclass(frozen=True)
class _Recording:
    run: Callable[..., Sequence[Tensor]]
    state: ProgramState
    inputs: list[Tensor]
    parameters: list[Tensor]
    expected: Evaluated
    numbers: tuple[float, ...] | None

    def fits(self, numbers: tuple[float, ...]) -> bool:
        return self.numbers in (None, numbers) and self.state.still_holds()


class CapturedGradient:
    """A function of tensors whose operations are recorded once, with the gradient of its loss, and then replayed.

    A replay draws from PyTorch's generators what the function would draw, in the same order, and updates buffers as it
    would, without a line of its Python: the results are those of the function under the same seed, to rounding, and a
    recording that does not show that is refused, with everything put back. What it takes for granted is looked at
    before each replay: kinds of the arguments, attributes of the modules and objects, what lists and mappings among
    them hold, and the variables that functions use. For others, the function is recorded anew. Not looked at are the
    contents of arrays, of objects of libraries, and of lists of more than a few hundred entries.

    Args:
        function: From numbers (a tuple, see below) and the call's arguments to a scalar loss and anything else made of
            tensors.
        roots: What the function uses: modules with all that is in them, other functions, objects.
        settings: Returns numbers that may change between calls, such as weights. As long as they do not, they are
            part of the recording; once they have, the function gets tensors for them.
        but_not: Names of attributes of the objects that do not matter, such as those of the numbers.
        compiles: Whether to compile what is recorded, see :func:`ib_pyro.capture.compilation.compiled`.
    """

    def __init__(
        self,
        function: Function,
        roots: Iterable[object],
        *,
        settings: Callable[[], Settings] = Settings,
        but_not: Iterable[str] = (),
        compiles: bool = False,
    ) -> None:
        self._compiles = compiles
        self._function, self._roots, self._settings = function, tuple(roots), settings
        self._but_not = set[str | tuple[int, str]](but_not)
        self._recordings: dict[object, list[_Recording]] = {}
        self._tries: dict[object, list[str]] = {}
        self._lifts = False

    def __call__(self, *args: Any, **kwargs: Any) -> Replay:
        """Replay the function, or record it if it has not been for such arguments.

        Raises:
            CaptureError: If the function cannot be replayed; says why.
        """
        _require_no_handlers()
        call = Call(*flattened(args, kwargs), *self._settings(), self._lifts)
        recording = self._find(call) or self._found_or_made(call)
        if recording.numbers is None and not call.lifts:
            call = call._replace(lifts=True)
        results = _run(recording.run, [*recording.inputs, *call.tensors])
        expected, last = recording.expected, 1 + len(recording.expected.outputs)
        found = iter(results[last:])
        gradients = [None if gradient is None else next(found) for gradient in expected.gradients]
        outputs = tree_unflatten(results[1:last], expected.structure)
        return Replay(results[0], outputs, recording.parameters, gradients)

    def accumulate(self, *args: Any, **kwargs: Any) -> Replay:
        """Replay the function, and add the gradients to those of the parameters, as ``loss.backward()`` does."""
        replay = self(*args, **kwargs)
        for parameter, gradient in zip(replay.parameters, replay.gradients, strict=True):
            if gradient is None:
                continue
            if parameter.grad is None:
                parameter.grad = gradient
            else:
                with torch.no_grad():
                    parameter.grad += gradient
        return replay

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a captured function cannot be copied or pickled: its recordings are of one program; make another"
        )

    def _find(self, call: Call) -> _Recording | None:
        for recording in self._recordings.get(key_of(call), ()):
            if recording.fits(call.numbers):
                return recording
        return None

    def _found_or_made(self, call: Call) -> _Recording:
        with RECORDING:  # it moves generators and buffers, and another thread may have just made it
            return self._find(call) or self._remember(call)

    def _remember(self, call: Call) -> _Recording:
        known = self._recordings.setdefault(key_of(call), [])
        if not self._lifts and any(recording.numbers != call.numbers for recording in known):
            # They move: from now on they are arguments.
            self._lifts = True
            self._recordings.clear()
            return self._remember(call._replace(lifts=True))
        if len(known) == MOST_RECORDINGS:
            changes = ", ".join(map(str, known[-1].state.changes())) or "a parameter's kind"
            raise CaptureError(
                f"the program was captured {MOST_RECORDINGS} times for arguments of one kind, and has changed again: "
                f"{changes}; what changes at every step cannot be replayed. Make it an argument of the program, or do "
                "without capture"
            )
        self._require_few(call, known)
        known.append(self._record(call))
        return known[-1]

    def _require_few(self, call: Call, known: list[_Recording]) -> None:
        """Raise if arguments that are numbers or strings, each recorded for itself, take too many values."""
        tries = self._tries.setdefault(call.of_any_values(), [])
        if not known and call.describe_values() not in tries:
            if len(tries) == MOST_RECORDINGS:
                raise CaptureError(
                    f"the program was captured for {MOST_RECORDINGS} values of its arguments that are no tensors "
                    f"({'; '.join(tries[-2:])}), and is called with others ({call.describe_values()}); hand numbers "
                    "that change over as tensors, or do without capture"
                )
            tries.append(call.describe_values())

    def _record(self, call: Call) -> _Recording:
        _require_ready(call, [*self._tensors("_parameters"), *self._tensors("_buffers")])
        before = self._state()
        try:
            return self._recorded(call)
        except BaseException:
            before.put_back()
            raise

    def _recorded(self, call: Call) -> _Recording:
        modules = self._modules()
        parameters = [p for p in self._tensors("_parameters") if p.requires_grad]
        require_no_hooks(modules, parameters)
        args, kwargs = call._replace(lifts=False).rebuilt([x for x in call.leaves if isinstance(x, Tensor)])
        with self._trial(call) as first:
            expected = evaluate(self._function, parameters, args, kwargs)
        _require_dense(expected)
        state = self._state()
        try:
            graph = self._graph(call, parameters)
            self._require_no_changes(state)
            _require_no_strangers(graph, self._tensors("_parameters"))
            simplify(graph)
            run: Callable[..., Sequence[Tensor]] = graph.forward
            self._require_same(run, call, expected, first)
            if self._compiles:
                own = self._tensors("_parameters") + self._tensors("_buffers")
                run = compiled(graph, [*own, *call.tensors])
                self._require_same(run, call, expected, first, compiled=True)
        except CaptureError:
            raise
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            raise CaptureError(
                f"the program cannot be captured: it runs, but cannot be recorded ({type(error).__name__}: {reason}); "
                "do without capture"
            ) from error
        inputs = self._tensors("_parameters") + self._tensors("_buffers")
        numbers = None if call.lifts else call.numbers
        return _Recording(run, self._state(), inputs, parameters, _without_values(expected), numbers)

    def _require_no_changes(self, state: ProgramState) -> None:
        for change in state.changes():
            if not change.is_harmless:
                raise CaptureError(
                    f"the program cannot be captured: each run changes {change}, and a replay would not; change it "
                    "outside of the program, or do without capture"
                )
            self._but_not.add((id(change.owner), change.name))

    def _graph(self, call: Call, parameters: Sequence[Tensor]) -> GraphModule:
        with self._trial(call):
            # What is recorded of the seed, as a number, is not what the program has computed with.
            seed_otherwise(self._tensors("_parameters"))
            # The modules' buffers are copies here; a replay is given the buffers themselves in their place.
            own = self._tensors("_parameters") + self._tensors("_buffers")

            def flat(*given: Tensor) -> tuple[Tensor, ...]:
                args, kwargs = call.rebuilt(given[len(own) :])
                return tuple(evaluate(self._function, parameters, args, kwargs).results)

            return record(flat, [*own, *as_recorded(call.tensors)])

    def _require_same(
        self,
        run: Callable[..., Sequence[Tensor]],
        call: Call,
        expected: Evaluated,
        first: Trial,
        *,
        compiled: bool = False,
    ) -> None:
        """Raise unless a replay gives, and leaves, what the function itself does under the same seed."""
        with self._trial(call) as second:
            own = self._tensors("_parameters") + self._tensors("_buffers")
            # The trial puts back what is written to, among it results that were made without its knowing.
            results = [result.clone() for result in _run(run, [*own, *call.tensors])]
        pairs = zip(expected.names, expected.results, results, strict=True)
        other = next((name for name, a, b in pairs if not agree(a, b)), None) or first.difference(second)
        if other and compiled:
            # The recording itself has passed.
            raise CaptureError(
                f"the program cannot be compiled: its recording is right, but compiled it gives another {other}, by "
                "more than rounding. Sums in another order do that in float32 where a gradient is a small difference "
                "of large numbers, as behind batch norm, or a ReLU's input is near zero; leave compile out, or "
                "compute in float64"
            )
        if other:
            raise CaptureError(
                f"the program cannot be captured: under the same seed a replay gives another {other}; "
                "it draws from a generator of its own, reads or sets the seed or puts the generator back, or keeps "
                "something between its runs. Draw by PyTorch's own generator and keep state in buffers, or do without "
                "capture"
            )

    def _trial(self, call: Call) -> AbstractContextManager[Trial]:
        return trial(self._modules(), self._tensors("_parameters"), call.tensors)

    def _modules(self) -> list[nn.Module]:
        return modules_within(modules_behind(*self._roots))  # type: ignore[arg-type]

    def _state(self) -> ProgramState:
        others = [root for root in self._roots if not isinstance(root, nn.Module)]
        return ProgramState(self._modules(), others, self._but_not)

    def _tensors(self, kind: str) -> list[Tensor]:
        found = [t for module in self._modules() for t in getattr(module, kind).values() if t is not None]
        return list({id(tensor): tensor for tensor in found}.values())


def _run(graph: Callable[..., Sequence[Tensor]], inputs: list[Tensor]) -> Sequence[Tensor]:
    """Run a graph, below autograd and automatic casting, whose work is part of it."""
    with torch._C._AutoDispatchBelowAutograd():
        if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            with without_casts():
                return graph(*inputs)
        return graph(*inputs)


def _require_no_handlers() -> None:
    """Raise if handlers of Pyro are active, which act on messages that a replay does not send."""
    if handlers_around():
        with RECORDING:  # those of another thread's recording are not around this call
            if around := handlers_around():
                raise CaptureError(
                    f"a captured program is called within {', '.join(around)}, which a recording of tensor operations "
                    "does not see; put the handler around model and guide before they are captured, or do without "
                    "capture (Pyro's handlers are those of all threads: one of another may be meant)"
                )


def _require_ready(call: Call, own: Sequence[Tensor]) -> None:
    """Raise if what is there from the start rules a recording out."""
    why = None
    if any(tensor.requires_grad for tensor in call.tensors):
        why = "an argument requires a gradient, and a captured program has those of its parameters alone; detach it"
    if torch.is_inference_mode_enabled():
        why = "there are no gradients to record in inference mode; use torch.no_grad"
    if any(map(is_lazy, own)):
        why = "a lazy module does not know its shapes yet; run the program once before"
    if why:
        raise CaptureError(why)


def _require_dense(expected: Evaluated) -> None:
    for name, value in zip(expected.names, expected.results, strict=True):
        if value.layout is not torch.strided:
            raise CaptureError(
                f"the program cannot be captured: its {name} has layout {value.layout}; use dense ones, such "
                "as of an embedding with sparse=False, or do without capture"
            )


def _require_no_strangers(graph: GraphModule, known: Sequence[Tensor]) -> None:
    """Raise if a graph has a constant that is a parameter, but none of the modules', or that it writes to."""
    for node in written_constants(graph):
        shape = tuple(getattr(graph, str(node.target)).shape)
        raise CaptureError(
            f"the program cannot be captured: it writes to a tensor of shape {shape} that is neither its own "
            "nor a buffer of its modules; make it a buffer, or do without capture"
        )
    for value in strangers(graph, known):
        raise CaptureError(
            f"the program cannot be captured: it uses a parameter of shape {tuple(value.shape)}{_in_store(value)} "
            "that is not of its modules, and would be taken for a constant; keep it in an nn.Module that is the "
            "model or the guide, or that one of them holds"
        )


def _in_store(value: Tensor) -> str:
    names = [name for name, known in pyro.get_param_store().named_parameters() if known is value]
    return f", {names[0]!r} of Pyro's parameter store," if names else ""


def _without_values(expected: Evaluated) -> Evaluated:
    """Keep how many results there are and how they are called, not the tensors."""
    nothing = expected.loss.new_empty(0)
    return Evaluated(
        nothing,
        [nothing] * len(expected.outputs),
        expected.structure,
        [None if gradient is None else nothing for gradient in expected.gradients],
        expected.names,
    )
