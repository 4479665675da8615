"""Whether what is not finite in a set does harm: a program may mask it, or be ruined by it in some later batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ib_pyro.training.batch_arguments import Batch, leaves_of
from ib_pyro.training.sources import Source

__all__ = ["require_finite_loss"]

# Samples looked at together, so that no mask of a whole set is in memory.
CHUNK = 4096
# Samples that are not finite, and others beside them, of which the loss is computed.
PROBES = 8


def require_finite_loss(source: Source, loss: Callable[[Batch], Tensor]) -> None:
    """Refuse a set in memory whose NaN or infinity reaches the loss, whichever batch it is in.

    Args:
        source: The set.
        loss: Loss of a batch; it is asked only where something is not finite.

    Raises:
        ValueError: If the loss of such samples is not finite, or cannot be computed; names how many there are, and the
            first.
    """
    if source.whole is None or source.size is None:
        return
    leaves = dict(_named(source.whole))
    wrong = {name: rows for name, values in leaves.items() if len(rows := _rows_not_finite(values))}
    if not wrong:
        return
    rows = torch.cat([*wrong.values()]).unique()
    right = torch.ones(source.size, dtype=torch.bool)
    right[rows] = False
    others = right.nonzero().flatten()[:PROBES]

    def is_finite(index: Tensor) -> bool:
        try:
            return bool(
                loss(source.rebuilt([v[index.to(v.device)] for v in leaves.values()])).isfinite().all()
            )
        except (RuntimeError, ValueError):
            return False  # a check of values has found it first

    # Where the loss of others is none either, it is something else that is wrong, and will be said.
    if (len(others) == 0 or is_finite(others)) and not is_finite(torch.cat([rows[:PROBES], others])):
        name, found = next(iter(wrong.items()))
        values = leaves[name][int(found[0])]
        first = values[~values.isfinite()].flatten()[0].item()
        raise ValueError(
            f"{name} is not finite in {len(found)} of {source.size} samples (sample {int(found[0])} has {first}), and "
            "nor is the loss there; leave them out, or let the program mask them"
        )


def _named(whole: Batch) -> Iterator[tuple[str, Tensor]]:
    """Each tensor of a set, with the name that its user knows it by."""
    leaves = list(leaves_of(whole))
    names = [f"argument {place}" for place in range(len(leaves))]
    if len(whole.args) == len(leaves) <= 2:
        names = ["x", "y"][: len(leaves)]
    elif len(whole.kwargs) == len(leaves):
        names = list(whole.kwargs)
    yield from zip(names, leaves, strict=True)


def _rows_not_finite(values: Tensor) -> Tensor:
    """Positions of the samples with a NaN or an infinity, int64, on the CPU."""
    if not values.is_floating_point() or values.numel() == 0:
        return torch.zeros(0, dtype=torch.int64)
    found = []
    for start, part in zip(range(0, len(values), CHUNK), values.split(CHUNK), strict=True):
        # One pass, in which a NaN wins; the mask is made where there is one.
        if not torch.stack(torch.aminmax(part)).isfinite().all():
            found.append(start + (~part.isfinite()).reshape(len(part), -1).any(1).nonzero().flatten().cpu())
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64)
