"""A function of modules and tensors with its gradient, recorded as one graph and replayed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyro
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from ib_pyro.buffers import buffers_kept
from ib_pyro.capture.evaluation import Evaluated, agree, evaluate
from ib_pyro.capture.program_state import ProgramState, modules_within
from ib_pyro.capture.recording import CaptureError, record
from ib_pyro.capture.simplification import simplify
from ib_pyro.precision import without_autocast

__all__ = ["CapturedGradient", "Identity", "Replay", "Settings"]

MOST_RECORDINGS = 8
"""Recordings for arguments of one shape, after which something is taken to change at every step."""

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


class _Call(NamedTuple):
    """The arguments of a call, in the order in which a graph takes them."""

    leaves: list[Any]
    structure: TreeSpec
    kind: object
    numbers: tuple[float, ...]
    lifts: bool

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors among the arguments, after the numbers if these are handed over too."""
        numbers = [torch.tensor(number, dtype=torch.float64) for number in self.numbers] if self.lifts else []
        return [*numbers, *(leaf for leaf in self.leaves if isinstance(leaf, Tensor))]

    def rebuilt(self, tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the function's arguments, numbers first, with these tensors in the place of those of the call."""
        remaining = iter(tensors)
        numbers = tuple(next(remaining) for _ in self.numbers) if self.lifts else self.numbers
        leaves = [next(remaining) if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]
        args, kwargs = tree_unflatten(leaves, self.structure)
        return (numbers, *args), kwargs


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
    recording that does not show that is refused. What it takes for granted is looked at before each replay: shapes,
    types and devices of the arguments, and the attributes of the modules. For others, the function is recorded anew.
    What a list, a mapping or another object among the attributes holds is not looked at.

    Args:
        function: From numbers (a tuple, see below) and the call's arguments to a scalar loss and anything else made of
            tensors.
        roots: The modules whose parameters, buffers and attributes the function uses, with all that is in them.
        objects: Other objects whose attributes the function uses.
        settings: Returns numbers that may change between calls, such as weights. As long as they do not, they are
            part of the recording; once they have, the function gets tensors for them.
        but_not: Names of attributes of the objects that do not matter, such as those of the numbers.
    """

    def __init__(
        self,
        function: Function,
        roots: Iterable[nn.Module],
        objects: Iterable[object] = (),
        *,
        settings: Callable[[], Settings] = Settings,
        but_not: Iterable[str] = (),
    ) -> None:
        self._function, self._roots, self._settings = function, tuple(roots), settings
        self._objects, self._but_not = tuple(objects), set[str | tuple[int, str]](but_not)
        self._recordings: dict[object, list[_Recording]] = {}
        self._lifts = False

    def __call__(self, *args: Any, **kwargs: Any) -> Replay:
        """Replay the function, or record it if it has not been for such arguments.

        Raises:
            CaptureError: If the function cannot be replayed; says why.
        """
        leaves, structure = tree_flatten((args, kwargs))
        call = _Call(leaves, structure, *self._settings(), self._lifts)
        recording = self._find(call) or self._remember(call)
        call = call._replace(lifts=self._lifts)
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
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return replay

    def _find(self, call: _Call) -> _Recording | None:
        for recording in self._recordings.get(_key_of(call), ()):
            if recording.fits(call.numbers):
                return recording
        return None

    def _remember(self, call: _Call) -> _Recording:
        known = self._recordings.setdefault(_key_of(call), [])
        if not self._lifts and any(recording.numbers != call.numbers for recording in known):
            # They move: from now on they are arguments.
            self._lifts = True
            self._recordings.clear()
            return self._remember(call._replace(lifts=True))
        if len(known) == MOST_RECORDINGS:
            changes = ", ".join(map(str, known[-1].state.changes()))
            raise CaptureError(
                f"the program was captured {MOST_RECORDINGS} times for arguments of one kind, and has changed again: "
                f"{changes}; what changes at every step cannot be replayed. Make it an argument of the program, or do "
                "without capture"
            )
        known.append(self._record(call))
        return known[-1]

    def _record(self, call: _Call) -> _Recording:
        if any(tensor.requires_grad for tensor in call.tensors):
            raise CaptureError(
                "an argument requires a gradient, and a captured program has those of its parameters alone; detach it"
            )
        parameters = [p for p in self._tensors("_parameters") if p.requires_grad]
        args, kwargs = call._replace(lifts=False).rebuilt([x for x in call.leaves if isinstance(x, Tensor)])
        with self._nothing_moved():
            expected = evaluate(self._function, parameters, args, kwargs)
        state = self._state()
        graph = self._graph(call, parameters)
        for change in state.changes():
            if not change.is_harmless:
                raise CaptureError(
                    f"the program cannot be captured: each run changes {change}, and a replay would not; change it "
                    "outside of the program, or do without capture"
                )
            self._but_not.add((id(change.owner), change.name))
        _require_no_strangers(graph, self._tensors("_parameters"))
        simplify(graph)
        self._require_same(graph, call, expected)
        inputs = self._tensors("_parameters") + self._tensors("_buffers")
        numbers = None if call.lifts else call.numbers
        return _Recording(
            graph.forward, self._state(), inputs, parameters, _without_values(expected), numbers
        )

    def _graph(self, call: _Call, parameters: Sequence[Tensor]) -> GraphModule:
        with self._nothing_moved():
            # The modules' buffers are copies here; a replay is given the buffers themselves in their place.
            own = self._tensors("_parameters") + self._tensors("_buffers")

            def flat(*given: Tensor) -> tuple[Tensor, ...]:
                args, kwargs = call.rebuilt(given[len(own) :])
                return tuple(evaluate(self._function, parameters, args, kwargs).results)

            return record(flat, [*own, *call.tensors])

    def _require_same(self, graph: GraphModule, call: _Call, expected: Evaluated) -> None:
        """Raise unless a replay gives what the function itself gives under the same seed."""
        with self._nothing_moved():
            own = self._tensors("_parameters") + self._tensors("_buffers")
            results = _run(graph.forward, [*own, *call.tensors])
        for name, one, other in zip(expected.names, expected.results, results, strict=True):
            if not agree(one, other):
                raise CaptureError(
                    f"the program cannot be captured: under the same seed a second run gives another {name}; it draws "
                    "from a generator that is not PyTorch's, or keeps something between its runs. Draw by PyTorch and "
                    "keep state in buffers, or do without capture"
                )

    @contextmanager
    def _nothing_moved(self) -> Iterator[None]:
        """Put generators and buffers back afterwards."""
        devices = {tensor.device for tensor in self._tensors("_parameters") if tensor.device.type == "cuda"}
        torch.clear_autocast_cache()
        with torch.random.fork_rng(devices), buffers_kept(modules_within(self._roots)):
            yield
        torch.clear_autocast_cache()

    def _state(self) -> ProgramState:
        return ProgramState(modules_within(self._roots), self._objects, self._but_not)

    def _tensors(self, kind: str) -> list[Tensor]:
        modules = modules_within(self._roots)
        found = [
            tensor for module in modules for tensor in getattr(module, kind).values() if tensor is not None
        ]
        return list({id(tensor): tensor for tensor in found}.values())


def _run(graph: Callable[..., Sequence[Tensor]], inputs: list[Tensor]) -> Sequence[Tensor]:
    """Run a graph, below autograd and automatic casting, whose work is part of it."""
    device = inputs[-1].device if inputs else torch.device("cpu")
    with torch._C._AutoDispatchBelowAutograd():
        if torch.is_autocast_enabled(device.type):
            with without_autocast(device):
                return graph(*inputs)
        return graph(*inputs)


def _key_of(call: _Call) -> tuple[object, ...]:
    kinds = [
        (leaf.shape, leaf.dtype, leaf.device, leaf.stride()) if isinstance(leaf, Tensor) else _plain(leaf)
        for leaf in call.leaves
    ]
    return (*kinds, call.structure, call.kind, *_modes(call))


def _modes(call: _Call) -> tuple[object, ...]:
    """Return what a graph depends on beside the arguments: the default type, and automatic casting."""
    devices = {leaf.device.type for leaf in call.leaves if isinstance(leaf, Tensor)}
    casts = [torch.get_autocast_dtype(kind) for kind in devices if torch.is_autocast_enabled(kind)]
    return torch.get_default_dtype(), *casts


def _plain(leaf: object) -> object:
    try:
        hash(leaf)
    except TypeError as error:
        raise CaptureError(
            f"an argument is a {type(leaf).__name__}, of which a captured program cannot tell whether it is the same "
            "at the next call; pass tensors, numbers and strings"
        ) from error
    return type(leaf), leaf


def _require_no_strangers(graph: GraphModule, known: Sequence[Tensor]) -> None:
    """Raise if a graph has a constant that is a parameter, but none of the modules'."""
    for node in graph.graph.nodes:
        value = getattr(graph, node.target) if node.op == "get_attr" else None
        if isinstance(value, Tensor) and value.requires_grad and not any(value is tensor for tensor in known):
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
