"""Batched products in a recorded graph, taken so that their result lies in memory as it is wanted."""

import torch
from torch.fx import GraphModule, Node

__all__ = ["turn_products"]

aten = torch.ops.aten

PRODUCTS = torch.bmm, aten.bmm.default
TRANSPOSES = torch.transpose, aten.transpose.int


def turn_products(graph: GraphModule) -> None:
    """Replace copies of ``(A B)^T`` by ``B^T A^T``, which lies in memory as the copy does, in place.

    The gradient of a linear map's weight comes transposed from ``torch.func.vmap``, and an optimiser wants it as the
    weight is; for wide layers the copy would cost as much as a fifth of the product.

    Args:
        graph: A graph of tensor operations, simplified.
    """
    for node in list(graph.graph.nodes):
        product = _copied_transpose(node)
        if product is None:
            continue
        with graph.graph.inserting_before(node):
            first, second = (
                graph.graph.call_function(torch.transpose, (operand, 1, 2)) for operand in product.args
            )
            turned = graph.graph.call_function(torch.bmm, (second, first))
        into, transposed = node.args
        node.replace_all_uses_with(turned)
        for unused in (node, into, transposed, product):
            if not unused.users:
                graph.graph.erase_node(unused)
    graph.recompile()


def _copied_transpose(node: Node) -> Node | None:
    """Return the product of which a node is a contiguous, transposed copy, if it is one."""
    if node.target is not aten.copy_.default:
        return None
    into, transposed = node.args[:2]
    if not (isinstance(into, Node) and isinstance(transposed, Node) and _is_new_and_contiguous(into)):
        return None
    if transposed.target not in TRANSPOSES or tuple(transposed.args[1:]) not in ((1, 2), (2, 1)):
        return None
    product = transposed.args[0]
    is_product = isinstance(product, Node) and product.target in PRODUCTS
    return product if is_product else None  # type: ignore[return-value]


def _is_new_and_contiguous(node: Node) -> bool:
    if node.target not in (torch.empty_strided, aten.empty_strided.default) or len(node.users) != 1:
        return False
    size, stride = node.args[:2]
    return tuple(stride) == torch.empty(size, device="meta").stride()  # type: ignore[arg-type]
