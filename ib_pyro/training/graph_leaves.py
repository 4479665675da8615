"""What a loss is computed from: the tensors at the ends of its graph, and those of them that nobody knows."""

from collections.abc import Iterable, Iterator

from torch import Tensor

__all__ = ["leaves_behind", "strangers"]


def leaves_behind(loss: Tensor) -> Iterator[Tensor]:
    """Go through the tensors that a backward pass from a loss would give gradients, in no particular order.

    >>> import torch
    >>> weight, frozen = torch.ones(2, requires_grad=True), torch.ones(2)
    >>> [leaf is weight for leaf in leaves_behind((weight * frozen).sum())]
    [True]
    """
    todo, seen = [loss.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            yield leaf
        todo += [parent for parent, _ in node.next_functions]


def strangers(loss: Tensor, known: Iterable[Tensor]) -> list[Tensor]:
    """Return those leaves behind a loss that are none of the known tensors."""
    own = {id(tensor) for tensor in known}
    return [leaf for leaf in leaves_behind(loss) if id(leaf) not in own]
