"""A stream of random numbers for each of several runs, from which operations over all of them draw."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Generator, Tensor
from torch.fx import GraphModule, Node
from torch.utils._python_dispatch import TorchDispatchMode

from ib_pyro.side_by_side.refusal import VectorizationError

__all__ = ["PerRunDraws", "Streams", "drawing_nodes", "drawn_before", "with_streams"]

aten = torch.ops.aten

# A size is the only shape that these have; the runs are its first dimension.
PLACES = {
    aten.rand.generator: (0, aten.rand.default),
    aten.randint.generator: (1, aten.randint.default),
    aten.randint.low_generator: (2, aten.randint.low),
    aten.randn.generator: (0, aten.randn.default),
}
SIZED = {name: (place, own) for own, (place, plain) in PLACES.items() for name in (own, plain)}
# Of each element on its own, with one tensor as operand, whose first dimension are the runs.
ELEMENTWISE = frozenset(
    {
        aten.bernoulli.default,
        aten.bernoulli.p,
        aten.bernoulli_.float,
        aten.cauchy_.default,
        aten.exponential_.default,
        aten.geometric_.default,
        aten.log_normal_.default,
        aten.native_dropout.default,
        aten.normal_.default,
        aten.poisson.default,
        aten.rand_like.default,
        aten.randn_like.default,
        aten.uniform_.default,
    }
)


class Streams:
    """The random numbers of several runs: those that each run alone would draw, in the same order.

    Args:
        generators: A generator for each run, on the device that the runs compute on.
    """

    def __init__(self, generators: Sequence[Generator]) -> None:
        self._generators = tuple(generators)

    @classmethod
    def seeded(cls, seeds: Sequence[int], device: torch.device | None = None) -> Self:
        """Make streams as ``torch.manual_seed`` starts them."""
        device = device or torch.device("cpu")
        return cls([Generator(device).manual_seed(seed) for seed in seeds])

    def __len__(self) -> int:
        return len(self._generators)

    @property
    def states(self) -> list[Tensor]:
        """Where each stream is; may be set."""
        return [generator.get_state() for generator in self._generators]

    @states.setter
    def states(self, values: Sequence[Tensor]) -> None:
        for generator, value in zip(self._generators, values, strict=True):
            generator.set_state(value)

    @contextmanager
    def ambient(self, run: int) -> Iterator[None]:
        """Let what draws from PyTorch's own generator draw from one run's stream."""
        mine = self._generators[run]
        ambient = _ambient_generator(mine.device)
        before = ambient.get_state()
        ambient.set_state(mine.get_state())
        try:
            yield
        finally:
            mine.set_state(ambient.get_state())
            ambient.set_state(before)

    def draw(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401  (an op's)
        """Do a random operation over all runs as each run would do its part.

        Args:
            operation: The ATen operation.
            args: Its arguments, the runs being the first dimension of sizes and tensors.
            kwargs: Its keyword arguments.

        Raises:
            VectorizationError: If it is not known how the operation comes apart.
        """
        if kwargs.get("generator") is not None:
            raise VectorizationError(
                f"the program draws by {_name(operation)} from a generator of its own, which runs side by side cannot "
                "share; draw from PyTorch's ambient generator"
            )
        kwargs = {name: value for name, value in kwargs.items() if name != "generator"}
        if operation in SIZED:
            return self._draw_sized(operation, args, kwargs)
        if operation in ELEMENTWISE and self._is_over_runs(args[0]):
            return self._draw_elementwise(operation, args, kwargs)
        raise VectorizationError(
            f"the program draws by {_name(operation)}, which is not known to come apart into one draw for each run; "
            "draw by torch.randn, rand, randint, bernoulli or by dropout, or train the runs one by one"
        )

    def _draw_sized(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:  # noqa: ANN401
        place, with_generator = SIZED[operation]
        size = args[place]
        if len(size) == 0 or size[0] != len(self):
            raise VectorizationError(
                f"the program draws by {_name(operation)} of size {tuple(size)} what does not differ between the runs"
            )
        if with_generator is aten.randn.generator:
            drawn = torch.empty(size, **kwargs)
            for part, generator in zip(drawn.unbind(), self._generators, strict=True):
                part.normal_(generator=generator)
            return drawn
        before, after = args[:place], args[place + 1 :]
        return torch.stack(
            [
                with_generator(*before, size[1:], *after, generator=generator, **kwargs)
                for generator in self._generators
            ]
        )

    def _is_over_runs(self, operand: object) -> bool:
        return isinstance(operand, Tensor) and operand.dim() > 0 and len(operand) == len(self)

    def _draw_elementwise(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        found = []
        takes_generator = any(argument.name == "generator" for argument in operation._schema.arguments)
        for run, part in enumerate(args[0].unbind()):
            if takes_generator:
                drawn = operation(part, *args[1:], **kwargs, generator=self._generators[run])
            else:
                with self.ambient(run):
                    drawn = operation(part, *args[1:], **kwargs)
            found.append(drawn)
        if operation._schema.is_mutable:
            return args[0]
        if isinstance(found[0], tuple):
            return tuple(map(torch.stack, zip(*found, strict=True)))
        return torch.stack(found)


class PerRunDraws(TorchDispatchMode):
    """Draw the random numbers of operations inside, which are over all runs, from the runs' streams.

    Args:
        streams: The streams.
    """

    def __init__(self, streams: Streams) -> None:
        super().__init__()
        self._streams = streams

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401  (an ATen operation)
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (whatever it returns)
        """Replace an operation if it is a random one."""
        if torch.Tag.nondeterministic_seeded in func.tags:
            return self._streams.draw(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))


def drawing_nodes(graph: GraphModule) -> list[tuple[Node, Any]]:
    """Return the nodes of a recorded graph that draw random numbers, each with its operation."""
    return [
        (node, node.target)
        for node in graph.graph.nodes
        if node.op == "call_function"
        and torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
    ]


def with_streams(graph: GraphModule, nodes: Sequence[tuple[Node, Any]], streams: Streams) -> None:
    """Let the nodes of a graph that draw do so from the runs' streams.

    Args:
        graph: The graph.
        nodes: What :func:`drawing_nodes` found in it, before it was simplified.
        streams: The streams.
    """
    for number, (node, operation) in enumerate(nodes):
        node.target = _drawing(streams, operation, number)
    graph.recompile()


def drawn_before(
    graph: GraphModule, nodes: Sequence[tuple[Node, Any]], streams: Streams
) -> Callable[[], list[Tensor]]:
    """Make what a graph draws its last inputs, so that it draws nothing itself.

    Args:
        graph: The graph.
        nodes: What :func:`drawing_nodes` found in it, before it was simplified.
        streams: The streams.

    Returns:
        What draws these inputs from the streams, in the order in which the graph would.

    Raises:
        VectorizationError: If a draw depends on what the graph computes.
    """
    draws: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
    last = [node for node in graph.graph.nodes if node.op == "placeholder"][-1]
    for number, (node, operation) in enumerate(nodes):
        if node.all_input_nodes:
            raise VectorizationError(
                f"compile=True: the program draws by {_name(operation)} from what it has computed, and what is "
                "compiled is given its random numbers beforehand; draw by torch.randn, rand or randint, or do without "
                "compile"
            )
        with graph.graph.inserting_after(last):
            last = graph.graph.placeholder(f"drawn_{number}")
        draws.append((operation, node.args, dict(node.kwargs)))
        node.replace_all_uses_with(last)
        graph.graph.erase_node(node)
    graph.recompile()
    return lambda: [streams.draw(operation, args, kwargs) for operation, args, kwargs in draws]


def _drawing(streams: Streams, operation: Any, number: int) -> Callable[..., Any]:  # noqa: ANN401  (an op)
    def draw(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (the op's)
        return streams.draw(operation, args, kwargs)

    # A graph's code calls it by this name.
    draw.__name__ = draw.__qualname__ = f"draw_{number}"
    return draw


def _ambient_generator(device: torch.device) -> Generator:
    if device.type == "cuda":
        torch.cuda.init()
        return torch.cuda.default_generators[device.index or 0]
    return torch.default_generator


def _name(operation: Any) -> str:  # noqa: ANN401  (an op)
    return str(operation._schema.name).removeprefix("aten::")
