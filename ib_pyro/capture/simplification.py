"""A recorded graph without what a replay need not do again: constants, copies of nothing, results nobody takes."""

import operator
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

__all__ = ["simplify", "written_constants"]

aten = torch.ops.aten

SAME = frozenset({aten.alias.default, aten.detach.default})
RESHAPES = frozenset({aten.view.default, aten.expand.default, aten._unsafe_view.default})
OF_A_SHAPE = frozenset({aten.ones_like.default, aten.zeros_like.default, aten.full_like.default})
OF_A_SHAPE |= {aten.new_zeros.default, aten.new_ones.default, aten.new_full.default}
UNKNOWN_VALUES = frozenset({aten.empty.memory_format, aten.empty_like.default, aten.new_empty.default})
LARGEST_CONSTANT = 1 << 20
"""Elements of a constant that is kept rather than made anew."""


def simplify(graph: GraphModule) -> None:
    """Take out of a graph, in place, what changes none of its results, and call what is left directly.

    What depends on nothing but constants is computed once; views that change nothing, equal operations on equal
    operands, and results without use go. Random draws stay, used or not, since those after them depend on them, and so
    does what is written to.

    Args:
        graph: A graph of ATen operations, as :func:`torch.fx.experimental.proxy_tensor.make_fx` records it.
    """
    _drop_repetitions(graph)
    _fold_constants(graph)
    _drop_unused(graph)
    _set_results_apart(graph)
    for node in graph.graph.nodes:
        _call_directly(node)
    graph.graph.lint()
    graph.recompile()


def _is_operation(node: Node) -> bool:
    return node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload)


def _draws(node: Node) -> bool:
    return torch.Tag.nondeterministic_seeded in node.target.tags  # type: ignore[union-attr]


def _writes(node: Node) -> bool:
    # The schema of batch norm does not say that it updates its statistics.
    name = node.target._schema.name  # type: ignore[union-attr]
    return node.target._schema.is_mutable or "batch_norm" in name  # type: ignore[union-attr]


def _is_pure(node: Node) -> bool:
    return not (_draws(node) or _writes(node))


def _drop_repetitions(graph: GraphModule) -> None:
    seen: dict[object, Node] = {}
    changed = _written(graph)
    for node in graph.graph.nodes:
        if not _is_operation(node):
            continue
        original = _what_it_repeats(node)
        if original is None and _is_pure(node) and not _touches(node, changed):
            key = node.target, _hashable(node.args), _hashable(node.kwargs)
            original = seen.setdefault(key, node)
        if original is not None and original is not node:
            node.replace_all_uses_with(original)
            graph.graph.erase_node(node)


def _what_it_repeats(node: Node) -> Node | None:
    """Return the operand that a node equals, if there is one."""
    operand = node.args[0] if node.args else None
    if not isinstance(operand, Node):
        return None
    if node.target in SAME:
        return operand
    if node.target in RESHAPES and _layout(operand) is not None and _layout(operand) == _layout(node):
        return operand
    if node.target is aten.t.default and operand.target is aten.t.default:
        inner = operand.args[0]
        return inner if isinstance(inner, Node) else None
    return None


def _layout(node: Node) -> tuple[object, ...] | None:
    meta = node.meta.get("tensor_meta")
    return None if meta is None else (meta.shape, meta.stride, meta.dtype)


def _hashable(value: Any) -> object:  # noqa: ANN401  (fx's arguments)
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    if isinstance(value, dict):
        return tuple((name, _hashable(part)) for name, part in sorted(value.items()))
    # 1, 1.0 and True are equal, and not the same operand.
    return type(value), str(value) if isinstance(value, float) else value


def base_of(node: Node) -> Node:
    """Return the node whose memory a node may be a view of."""
    while True:
        maker = (
            node.args[0] if node.target is operator.getitem else node
        )  # one of the parts that a split gives
        if not isinstance(maker, Node) or not _is_operation(maker) or not maker.args:
            return node
        returns = maker.target._schema.returns  # type: ignore[union-attr]
        if not isinstance(maker.args[0], Node) or all(value.alias_info is None for value in returns):
            return node
        node = maker.args[0]


def _written(graph: GraphModule) -> set[Node]:
    """Return the nodes whose memory is written to later on."""
    found = set()
    for node in graph.graph.nodes:
        if _is_operation(node) and _writes(node):
            found |= {base_of(operand) for operand in node.all_input_nodes}
    return found


def written_constants(graph: GraphModule) -> list[Node]:
    """Return the constants that are written to."""
    found = []
    for node in graph.graph.nodes:
        if _is_operation(node) and _writes(node):
            given = zip(node.target._schema.arguments, node.args, strict=False)
            kept = "running_mean", "running_var"
            changed = [
                value
                for argument, value in given
                if argument.name in kept or (argument.alias_info is not None and argument.alias_info.is_write)
            ]
            found += [base_of(value) for value in changed if isinstance(value, Node)]
    return [node for node in found if node.op == "get_attr"]


def _touches(node: Node, changed: set[Node]) -> bool:
    """Whether a node reads, or is, memory that is written to: then it matters when it runs."""
    return base_of(node) in changed or any(base_of(operand) in changed for operand in node.all_input_nodes)


def _fold_constants(graph: GraphModule) -> None:
    changed = _written(graph)
    values: dict[Node, Tensor] = {}
    for node in graph.graph.nodes:
        if not _is_operation(node) or not _is_pure(node) or _touches(node, changed):
            continue
        value = _constant(graph, node, values)
        if isinstance(value, Tensor) and value.numel() <= LARGEST_CONSTANT:
            values[node] = value
    for number, (node, value) in enumerate(values.items()):
        if all(user in values for user in node.users):
            continue
        name = f"constant_{number}"
        graph.register_buffer(name, value, persistent=False)
        with graph.graph.inserting_before(node):
            node.replace_all_uses_with(graph.graph.get_attr(name))


def _constant(graph: GraphModule, node: Node, values: dict[Node, Tensor]) -> Any:  # noqa: ANN401  (what an op returns)
    """Return what a node is at each replay; None if that depends on the inputs."""
    target: Callable[..., Any] = node.target  # type: ignore[assignment]
    if target is aten.lift_fresh_copy.default:
        # A tensor made of numbers in the program's text, as torch.tensor(0.5) is.
        return getattr(graph, node.args[0].target).clone()  # type: ignore[union-attr, arg-type]
    # Older PyTorch does not note of a tensor of the program itself what it is: the operation stays in the graph then.
    if target in OF_A_SHAPE and len(node.all_input_nodes) == 1 and "val" in node.all_input_nodes[0].meta:
        like = node.all_input_nodes[0].meta["val"]
        like = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=like.device)
        return target(like, *node.args[1:], **node.kwargs)
    known = all(operand in values for operand in node.all_input_nodes)
    if not known or target in UNKNOWN_VALUES:
        return None
    args = map_arg(node.args, values.__getitem__)
    kwargs = map_arg(node.kwargs, values.__getitem__)
    return target(*args, **kwargs)


def _drop_unused(graph: GraphModule) -> None:
    for node in reversed(graph.graph.nodes):
        if node.users or node.op in ("placeholder", "output"):
            continue
        if not _is_operation(node) or _is_pure(node):
            graph.graph.erase_node(node)


def _set_results_apart(graph: GraphModule) -> None:
    """Copy results that share memory, with another, a constant, an input or in themselves: they may be written to."""
    output = graph.graph.output_node()
    seen: set[Node] = set()
    results = []
    for node in output.args[0]:  # type: ignore[union-attr]
        base = base_of(node)  # type: ignore[arg-type]
        if base in seen or base.op in ("placeholder", "get_attr") or not _is_dense(node):  # type: ignore[arg-type]
            with graph.graph.inserting_before(output):
                node = graph.graph.call_function(aten.clone.default, (node,))  # noqa: PLW2901
        seen.add(base)
        results.append(node)
    output.args = (tuple(results),)


def _is_dense(node: Node) -> bool:
    """Whether a tensor has a place of its own for each element and no gaps."""
    meta = node.meta.get("tensor_meta")
    if meta is None or 0 in meta.shape:
        return True
    expected = 1
    for stride, size in sorted(zip(meta.stride, meta.shape, strict=True)):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def _call_directly(node: Node) -> None:
    """Call an operation as ``torch.mul`` is called: by an ATen overload it is the same, and takes twice as long."""
    has_gaps = any(isinstance(argument, list | tuple) and None in argument for argument in node.args)
    if not _is_operation(node) or _writes(node) or has_gaps:
        return
    name = node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    function = getattr(torch, name, None)
    if isinstance(function, types.BuiltinFunctionType):
        node.target = function
