"""One run's step as a graph of tensor operations, with its random draws and differing constants as inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_flatten, tree_unflatten

from ib_pyro.buffers import buffers_kept
from ib_pyro.capture.loss_and_gradient import Evaluated, evaluate
from ib_pyro.capture.recording import CaptureError, record, strangers

__all__ = ["Draw", "RunGraph", "SideBySideError", "lift_differences", "record_run", "tensors_of"]

aten = torch.ops.aten
Step = Callable[..., tuple[Tensor, Any]]

STANDARD = {
    aten.randn.default: aten.normal_.default,
    aten.randn_like.default: aten.normal_.default,
    aten.rand.default: aten.uniform_.default,
    aten.rand_like.default: aten.uniform_.default,
}
"""Draws of a fixed law, and what fills a tensor with the same numbers."""
NEW = frozenset(
    {
        aten.empty.memory_format,
        aten.empty_like.default,
        aten.empty_strided.default,
        aten.new_empty.default,
        aten.new_zeros.default,
        aten.zeros.default,
        aten.zeros_like.default,
    }
)
WITH_TENSORS = {
    aten.add.Scalar: aten.add.Tensor,
    aten.clamp_min.default: aten.clamp_min.Tensor,
    aten.clamp_max.default: aten.clamp_max.Tensor,
    aten.div.Scalar: aten.div.Tensor,
    aten.mul.Scalar: aten.mul.Tensor,
    aten.pow.Tensor_Scalar: aten.pow.Tensor_Tensor,
    aten.rsub.Scalar: aten.rsub.Tensor,
    aten.sub.Scalar: aten.sub.Tensor,
}
"""Operations with a number, and the same with a tensor in its place."""
FILLED = frozenset({aten.full.default, aten.full_like.default})
WITH_ALPHA = frozenset({aten.add.Tensor, aten.sub.Tensor, aten.rsub.Scalar, aten.rsub.Tensor})


class SideBySideError(CaptureError):
    """Runs cannot be trained side by side."""


@dataclass(frozen=True)
class Draw:
    """A random draw of a run's step.

    Attributes:
        fills: Fills a tensor with it, given a generator.
        like: An example of what is drawn, without values.
    """

    fills: Callable[[Tensor, torch.Generator], object]
    like: Tensor


@dataclass(frozen=True)
class RunGraph:
    """A run's step.

    Attributes:
        graph: From parameters, buffers, inputs and draws to the results.
        draws: The random draws in their order.
        expected: What the results are.
    """

    graph: GraphModule
    draws: list[Draw]
    expected: Evaluated


def tensors_of(program: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return a program's parameters and buffers by name, each once."""
    return dict(program.named_parameters()), dict(program.named_buffers())


def record_run(step: Step, program: nn.Module, inputs: Sequence[Tensor], *, with_gradients: bool) -> RunGraph:
    """Record a run's step.

    Args:
        step: From the inputs to a loss and other tensors; it uses the program's own parameters and buffers.
        program: The program, in the mode in which it is to run.
        inputs: Examples of weights, inputs and labels.
        with_gradients: Whether the gradient of the loss is among the results.

    Raises:
        CaptureError: If the step cannot be replayed; says why.
    """
    found: list[Evaluated] = []
    with torch.random.fork_rng(_cuda(program)), buffers_kept([program]):
        parameters, buffers = tensors_of(program)
        own = [*parameters.values(), *buffers.values()]
        trained = [p for p in parameters.values() if p.requires_grad] if with_gradients else []

        def flat(*given: Tensor) -> tuple[Tensor, ...]:
            found.append(evaluate(step, trained, given[len(own) :], {}))
            return tuple(found[-1].results)

        graph = record(flat, [*own, *inputs])
    _require_no_strangers(graph, own)
    return RunGraph(graph, _lift_draws(graph), found[-1])


def lift_differences(graphs: Sequence[GraphModule], names: Sequence[str]) -> list[Tensor]:
    """Make inputs of the constants in which graphs of the same operations differ, in the first of them.

    Args:
        graphs: A graph for each run.
        names: Names of the runs, for messages.

    Returns:
        What the new inputs are, one value for each graph, ``[len(graphs), ...]``.

    Raises:
        SideBySideError: If the operations themselves differ, or a constant cannot be an input.
    """
    first, others = graphs[0], graphs[1:]
    lifted: list[Tensor] = []
    if not others:
        return lifted
    columns = [list(graph.graph.nodes) for graph in graphs]
    for name, column in zip(names, columns, strict=True):
        if [(n.op, _code(n)) for n in column] != [(n.op, _code(n)) for n in columns[0]]:
            raise SideBySideError(
                f"run {name!r}: its program computes other operations than that of run {names[0]!r}, and runs side by "
                "side do the same; let their programs differ in numbers alone, or train them one by one"
            )
    positions = [{node: i for i, node in enumerate(column)} for column in columns]
    for row in zip(*columns, strict=True):
        if row[0].op == "get_attr":
            values = [getattr(g, n.target) for g, n in zip(graphs, row, strict=True)]
            if any(not _same(value, values[0]) for value in values):
                node = _new_input(first, lifted, _stacked(values, names))
                for user in row[0].users:
                    # What copies a constant of the text is for constants alone.
                    if user.target is aten.lift_fresh_copy.default:
                        user.target = aten.clone.default
                row[0].replace_all_uses_with(node)
        else:
            _lift_numbers(first, row, positions, lifted, names)
    first.graph.lint()
    first.recompile()
    return lifted


def _lift_numbers(
    first: GraphModule,
    row: Sequence[Node],
    positions: Sequence[dict[Node, int]],
    lifted: list[Tensor],
    names: Sequence[str],
) -> None:
    """Make inputs of the numbers in which one operation of several graphs differs."""
    flat = [tree_flatten((node.args, node.kwargs), is_leaf=_is_node) for node in row]
    columns = list(zip(*(leaves for leaves, _ in flat), strict=True))
    if len({str(structure) for _, structure in flat}) > 1 or not all(
        _fit_together(values, positions) for values in columns
    ):
        raise SideBySideError(
            f"run {names[0]!r} and those beside it use other operands in {row[0].target}; runs side by side compute "
            "the same; let their programs differ in numbers alone, or train them one by one"
        )
    leaves = [
        values[0]
        if _is_node(values[0]) or _all_same(values)
        else _new_input(first, lifted, _numbers(values, row, names))
        for values in columns
    ]
    if leaves != list(flat[0][0]):
        args, kwargs = tree_unflatten(leaves, flat[0][1])
        _put_tensors(first, row[0], args, kwargs, names)


def _fit_together(values: Sequence[Any], positions: Sequence[dict[Node, int]]) -> bool:
    """Whether operands are the same node in each graph, or no nodes at all."""
    if not any(map(_is_node, values)):
        return True
    if not all(map(_is_node, values)):
        return False
    # An operand of the first graph that is new there was a constant at one place in all.
    found = {at[value] for at, value in zip(positions, values, strict=True) if value in at}
    return len(found) == 1


def _numbers(values: Sequence[Any], row: Sequence[Node], names: Sequence[str]) -> Tensor:
    if not all(isinstance(value, float | int) and not isinstance(value, bool) for value in values):
        raise SideBySideError(_cannot_differ(row[0], names, values))
    return torch.tensor(values, dtype=row[0].meta["tensor_meta"].dtype)


def _put_tensors(
    graph: GraphModule, node: Node, args: tuple[Any, ...], kwargs: dict[str, Any], names: Sequence[str]
) -> None:
    """Give an operation tensors for some of its numbers."""
    alpha = (
        kwargs.pop("alpha", None)
        if "alpha" in kwargs
        else args[2]
        if node.target in WITH_ALPHA and len(args) > 2
        else None
    )
    operation: Any = node.target
    target = WITH_TENSORS.get(operation, operation)
    if alpha is not None:
        # PyTorch takes no tensor for the factor, so that it has to be an operation of its own.
        scaled, other = (1, 0) if target is not aten.rsub.Tensor else (0, 1)
        with graph.graph.inserting_before(node):
            product = graph.graph.call_function(aten.mul.Tensor, (args[scaled], alpha))
        args = (args[other], product) if scaled else (product, args[other])
    if target in FILLED and _is_node(args[1]):
        with graph.graph.inserting_before(node):
            ones = graph.graph.call_function(target, (args[0], 1.0), kwargs)
        target, args, kwargs = aten.mul.Tensor, (ones, args[1]), {}
    types = [str(argument.type) for argument in target._schema.arguments]
    if (
        any(
            _is_node(a) and kind in ("number", "Scalar", "float")
            for a, kind in zip(args, types, strict=False)
        )
        or kwargs
    ):
        raise SideBySideError(_cannot_differ(node, names, []))
    if not _is_node(args[1]) and target is aten.rsub.Tensor:
        target = aten.rsub.Scalar
    node.target, node.args, node.kwargs = target, args, kwargs


def _cannot_differ(node: Node, names: Sequence[str], values: Sequence[Any]) -> str:
    return (
        f"run {names[0]!r} and those beside it differ in a number of {node.target} {list(values) or ''}, which is one "
        "for all; train runs that differ in this setting one by one"
    )


def _all_same(values: Sequence[Any]) -> bool:
    return all(value is values[0] or value == values[0] for value in values)


def _is_node(value: object) -> bool:
    return isinstance(value, Node)


def _new_input(graph: GraphModule, lifted: list[Tensor], stack: Tensor) -> Node:
    last = [node for node in graph.graph.nodes if node.op == "placeholder"][-1]
    with graph.graph.inserting_after(last):
        node = graph.graph.placeholder(f"differing_{len(lifted)}")
    lifted.append(stack)
    return node


def _stacked(values: Sequence[Tensor], names: Sequence[str]) -> Tensor:
    if len({(value.shape, value.dtype) for value in values}) > 1:
        raise SideBySideError(
            f"run {names[0]!r} and those beside it have constants of other shapes or types, "
            f"{[tuple(value.shape) for value in values]}; give them one shape, or train them one by one"
        )
    return torch.stack(list(values))


def _same(one: Tensor, other: Tensor) -> bool:
    return one is other or (one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other))


def _code(node: Node) -> object:
    return node.target if node.op == "call_function" else node.op


def _lift_draws(graph: GraphModule) -> list[Draw]:
    """Make inputs of a graph's random draws."""
    draws: list[Draw] = []
    last = [node for node in graph.graph.nodes if node.op == "placeholder"][-1]
    for node in list(graph.graph.nodes):
        if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
            continue
        with graph.graph.inserting_after(last):
            last = graph.graph.placeholder(f"draw_{len(draws)}")
        draws.append(_draw_of(graph, node))
        if node.target._schema.is_mutable:
            node.args[0].replace_all_uses_with(last)
        node.replace_all_uses_with(last)
        graph.graph.erase_node(node)
    graph.graph.lint()
    graph.recompile()
    return draws


def _draw_of(graph: GraphModule, node: Node) -> Draw:
    target: Any = node.target
    meta: Any = node.meta.get("tensor_meta")
    takes_generator = any(a.name == "generator" for a in target._schema.arguments)
    in_place = target._schema.is_mutable
    base: Any = node.args[0] if node.args else None
    known = target in STANDARD or (takes_generator and (not in_place or base.target in NEW))
    if not hasattr(meta, "stride") or not known:
        raise SideBySideError(
            f"a program draws by {target}, for which no run can be given its own numbers; draw by torch.randn, "
            "torch.rand or torch.bernoulli, or train the runs one by one"
        )
    like = torch.empty_strided(meta.shape, meta.stride, dtype=meta.dtype, device=node.meta["val"].device)
    if target in STANDARD:
        fill = STANDARD[target]
        return Draw(lambda out, generator: fill(out, generator=generator), like)
    args, kwargs = map_arg(
        (node.args[1:] if in_place else node.args, dict(node.kwargs)), lambda n: _value(graph, n)
    )
    kwargs = {key: value for key, value in kwargs.items() if key != "generator"}
    if in_place:
        return Draw(lambda out, generator: target(out, *args, generator=generator, **kwargs), like)
    return Draw(lambda out, generator: out.copy_(target(*args, generator=generator, **kwargs)), like)


def _value(graph: GraphModule, node: Node) -> Any:  # noqa: ANN401  (what an operation returns)
    """Return what a node is whatever the inputs are."""
    if node.op == "get_attr":
        return getattr(graph, node.target)  # type: ignore[arg-type]
    if node.op != "call_function":
        raise SideBySideError(
            "a program draws from a law that depends on its inputs or parameters and not by reparameterisation, as "
            "torch.bernoulli(probs(x)) does; no run can be given its own numbers in advance. Train the runs one by one"
        )
    args, kwargs = map_arg((node.args, node.kwargs), lambda n: _value(graph, n))
    return node.target(*args, **kwargs)  # type: ignore[operator]


def _require_no_strangers(graph: GraphModule, own: Sequence[Tensor]) -> None:
    for value in strangers(graph, own):
        raise SideBySideError(
            f"a program uses a parameter of shape {tuple(value.shape)} that is not one of its modules, as "
            "pyro.param's in the parameter store are; keep it in an nn.Module or PyroParam of the program"
        )


def _cuda(program: nn.Module) -> list[torch.device]:
    return list({p.device for p in program.parameters() if p.device.type == "cuda"})
