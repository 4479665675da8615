"""Whether what is not finite in a set does harm: a program may mask it, or be ruined by it in some later batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["require_finite_loss"]

# Samples looked at together, so that no mask of a whole set is in memory.
CHUNK = 4096
# Samples that are not finite, and others beside them, of which the loss is computed.
PROBES = 8


def require_finite_loss(x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Refuse a set whose NaN or infinity reaches the loss, whichever batch it is in.

    Args:
        x: Inputs of the whole set, ``[N, ...]``.
        y: What is observed of them, ``[N, ...]``.
        loss: Loss of a batch; it is asked only where something is not finite.

    Raises:
        ValueError: If the loss of such samples is not finite, or cannot be computed; names how many there are, and the
            first.
    """
    wrong = {name: rows for name, values in (("x", x), ("y", y)) if len(rows := _rows_not_finite(values))}
    if not wrong:
        return
    rows = torch.cat([*wrong.values()]).unique()
    right = torch.ones(len(x), dtype=torch.bool)
    right[rows] = False
    others = right.nonzero().flatten()[:PROBES]

    def is_finite(index: Tensor) -> bool:
        try:
            return bool(loss(x[index.to(x.device)], y[index.to(y.device)]).isfinite().all())
        except (RuntimeError, ValueError):
            return False  # a check of values has found it first

    # Where the loss of others is none either, it is something else that is wrong, and will be said.
    if (len(others) == 0 or is_finite(others)) and not is_finite(torch.cat([rows[:PROBES], others])):
        name, found = next(iter(wrong.items()))
        values = (x if name == "x" else y)[int(found[0])]
        first = values[~values.isfinite()].flatten()[0].item()
        raise ValueError(
            f"{name} is not finite in {len(found)} of {len(x)} samples (sample {int(found[0])} has {first}), and nor "
            "is the loss there; leave them out, or let the program mask them"
        )


def _rows_not_finite(values: Tensor) -> Tensor:
    """Positions of the samples with a NaN or an infinity, int64, on the CPU."""
    if not values.is_floating_point() or values.numel() == 0:
        return torch.zeros(0, dtype=torch.int64)
    found = []
    for start, part in zip(range(0, len(values), CHUNK), values.split(CHUNK), strict=True):
        # One pass, in which a NaN wins; the mask is made where there is one.
        if not torch.stack(torch.aminmax(part)).isfinite().all():
            found.append(start + (~part.isfinite()).flatten(1).any(1).nonzero().flatten().cpu())
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64)
