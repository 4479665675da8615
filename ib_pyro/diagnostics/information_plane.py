"""The information plane of a run: what the code keeps of x and of y, as the run goes on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["InformationPlane", "information_plane"]


@dataclass(frozen=True)
class InformationPlane:
    """A run in the information plane.

    Attributes:
        step: Epoch or step of each row, [T].
        i_xz: Rate, the upper bound of I(x; z) under a normalised prior, [T], nats per sample.
        i_zy: Lower bound of I(z; y), [T], nats per sample.
        label_entropy: H(y), nats: no I(z; y) is larger.
    """

    step: Tensor
    i_xz: Tensor
    i_zy: Tensor
    label_entropy: float


def information_plane(
    rows: Iterable[Mapping[str, Any]],
    *,
    label_entropy: float | Tensor,
    distortion: str = "distortion",
    rate: str = "rate",
    step: str = "epoch",
) -> InformationPlane:
    r"""Bounds on I(x; z) and I(z; y) from a run's distortion and rate.

    .. math::
        I(x; z) &\le E\,\mathrm{KL}(p(z|x) \| q(z)) = \text{rate} \\
        I(z; y) &\ge H(y) - E[-\log p(y|z)] = H(y) - \text{distortion}

    Barber & Agakov (2003); Alemi et al. (2017), "Deep Variational Information Bottleneck", section 3. The
    first bound needs a normalised prior: the rate is I(x; z) + KL(p(z) || q(z)), and with the improper
    log-uniform prior, whose constant is free, the last term may be negative. The second holds on average
    over the distribution that the rows were measured on; take held-out rows, since a distortion fitted to
    few training samples overstates it. It may be negative, and is left so: such a decoder is worse than
    guessing by class frequencies.

    Args:
        rows: One mapping a row, as ``csv.DictReader`` gives over a run's metrics (numbers may be strings).
        label_entropy: H(y) of the set that the rows were measured on, nats; see
            ``ib_pyro.information.label_entropy``.
        distortion: Column of the distortion, nats per sample.
        rate: Column of the rate, nats per sample, not multiplied by beta.
        step: Column of the epoch or step.

    Returns:
        The run's path, float64 on the CPU, in the order of the rows.

    Raises:
        ValueError: If there are no rows, a column is missing or empty, or ``label_entropy`` is negative.

    Example:
        >>> rows = [{"epoch": "1", "distortion": "2.0", "rate": "5.0"}]
        >>> information_plane(rows, label_entropy=2.3).i_xz
        tensor([5.], dtype=torch.float64)
    """
    entropy = float(label_entropy)
    if not entropy >= 0:
        raise ValueError(f"label_entropy: {entropy}, must be >= 0 nats")
    table = list(rows)
    if not table:
        raise ValueError("rows: empty; a run writes its first row after its first epoch")
    return InformationPlane(
        step=_column(table, step),
        i_xz=_column(table, rate),
        i_zy=entropy - _column(table, distortion),
        label_entropy=entropy,
    )


def _column(table: list[Mapping[str, Any]], name: str) -> Tensor:
    missing = next((i for i, row in enumerate(table) if row.get(name) in (None, "")), None)
    if missing is not None:
        raise ValueError(f"rows: row {missing} has no {name!r}; it has {sorted(map(str, table[missing]))}")
    return torch.tensor([float(row[name]) for row in table], dtype=torch.float64)
