"""Recording a function of tensors as a graph, and refusing what a graph cannot say."""

from collections.abc import Callable, Sequence
from typing import Any

import pyro
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

__all__ = ["CaptureError", "record", "strangers"]

READS_VALUES = frozenset(
    {"numpy", "__array__", "tolist", "data_ptr", "__dlpack__", "__repr__", "__deepcopy__"}
)
READS_VALUES |= {"__reduce_ex__", "untyped_storage", "storage", "_typed_storage"}
MAKES_TENSORS = frozenset({"tensor", "as_tensor", "asarray", "new_tensor"})


class CaptureError(RuntimeError):
    """A program cannot be replayed from a graph of tensor operations."""


def record(function: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor]) -> GraphModule:
    """Run a function once, and return the operations on tensors that it consists of.

    Args:
        function: From the inputs to tensors. It may use other tensors, which become constants.
        inputs: What a replay is given anew, among it parameters and buffers.

    Raises:
        CaptureError: If the function looks at values of tensors, which may be others at the next call; names the site
            before which it does so.
    """
    # It takes a while to import, which who does not capture need not wait for.
    from torch.fx.experimental.proxy_tensor import make_fx

    with _LastSite() as site, pyro.validation_enabled(False), _NoValues(site):
        try:
            graph = make_fx(function)(*inputs)
        except RuntimeError as error:
            if "trying to get value out of a tracing tensor" not in str(error):
                raise
            raise CaptureError(_describe_reading(site.name, "a value of a tensor")) from error
    _require_static_shapes(graph)
    return graph


def strangers(graph: GraphModule, known: Sequence[Tensor]) -> list[Tensor]:
    """Return the constants of a graph that require a gradient, and so are parameters, but are none of those known.

    Args:
        graph: A recorded graph.
        known: The parameters that it may have.
    """
    names = [str(node.target) for node in graph.graph.nodes if node.op == "get_attr"]
    values = [getattr(graph, name) for name in names]
    return [
        value
        for value in values
        if isinstance(value, Tensor) and value.requires_grad and not any(value is own for own in known)
    ]


class _LastSite(Messenger):
    """Remember the last sample site that has run inside, for messages."""

    def __init__(self) -> None:
        super().__init__()
        self.name: str | None = None

    def _pyro_post_sample(self, msg: dict[str, Any]) -> None:
        self.name = msg["name"]


class _NoValues(TorchFunctionMode):
    """Refuse what takes values out of tensors without a trace."""

    def __init__(self, site: _LastSite) -> None:
        super().__init__()
        self._site = site

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (whatever the function returns)
        name = getattr(func, "__name__", "")
        if name in READS_VALUES:
            raise CaptureError(_describe_reading(self._site.name, f"values of tensors by .{name}()"))
        if name in MAKES_TENSORS and _are_listed((*args, *(kwargs or {}).values())):
            raise CaptureError(_describe_reading(self._site.name, f"values of tensors by {name}([...])"))
        return func(*args, **(kwargs or {}))


def _are_listed(arguments: tuple[object, ...]) -> bool:
    """Whether there are tensors in a list or tuple, of which a new tensor takes the values alone."""
    lists = [value for value in arguments if isinstance(value, list | tuple)]
    return any(isinstance(leaf, Tensor) for leaf in tree_leaves(lists))


def _describe_reading(site: str | None, what: str) -> str:
    where = f"after site {site!r} " if site else ""
    return (
        f"the program cannot be captured: {where}it reads {what}, as `if` and float() do, and what it does next may "
        "depend on them. Write it with tensor operations (torch.where, masks, weights), or do without capture"
    )


def _require_static_shapes(graph: GraphModule) -> None:
    for node in graph.graph.nodes:
        if _has_dynamic_shape(node):
            raise CaptureError(
                f"the program cannot be captured: {node.target} gives a tensor whose shape depends on values, as "
                "x[mask] does; use torch.where or a mask of weights instead, or do without capture"
            )


def _has_dynamic_shape(node: Node) -> bool:
    if torch.Tag.dynamic_output_shape not in getattr(node.target, "tags", ()):
        return False
    if node.target is not torch.ops.aten.index.Tensor:
        return True
    # An index by whole numbers has their shape, one by truth values has not.
    indices = [index for index in node.args[1] if index is not None]  # type: ignore[union-attr]
    return any(_dtype_of(index) in (torch.bool, torch.uint8) for index in indices)


def _dtype_of(node: Any) -> torch.dtype | None:  # noqa: ANN401  (what fx has as arguments)
    meta = getattr(node, "meta", {}).get("tensor_meta")
    return getattr(meta, "dtype", None)
