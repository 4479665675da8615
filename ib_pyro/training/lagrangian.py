"""The Lagrangian of a row of means, and weights that move over the epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy

from torch import Tensor

from ib_pyro.elbo.schedules import linear_warm_up
from ib_pyro.elbo.weights import Weight, weight_of

__all__ = ["Schedule", "is_one_number", "lagrangian", "warming_up", "weights_by_site"]

Schedule = Callable[[float], Weight]
"""A weight as a function of the number of finished epochs, fractions included."""


def lagrangian(row: Mapping[str, float], beta: Weight, gamma: Weight = 0.0) -> float:
    """Return ``distortion + sum_l (beta_l * rate_l + gamma_l * TC_l)``, in nats per sample.

    Args:
        row: Means ``distortion``, ``rate/<site>`` and, where gamma is not zero, ``total_correlation/<site>``.
        beta: Weight of the rate; sites that a mapping leaves out have 1.
        gamma: Weight of the total correlation; sites that a mapping leaves out have 0.

    >>> lagrangian({"distortion": 0.5, "rate/z1": 10.0, "rate/z2": 2.0}, beta={"z1": 0.1})
    3.5
    """
    parts = [row["distortion"]]
    for name, value in row.items():
        kind, _, site = name.partition("/")
        if kind == "rate" and site:
            parts.append(float(weight_of(beta, site, 1.0)) * value)
        elif kind == "total_correlation":
            parts.append(float(weight_of(gamma, site, 0.0)) * value)
    return math.fsum(parts)


def weights_by_site(beta: Weight, size: int) -> dict[str, float]:
    """Return beta, and beta times the number of samples, as columns of a history; a site's after its name.

    A beta that differs by sample has no place in a row an epoch, and is left out.

    Args:
        beta: Weight of the rate.
        size: Samples in the set.

    >>> weights_by_site({"z1": 0.5}, 100)
    {'beta/z1': 0.5, 'beta_paper/z1': 50.0}
    """
    row: dict[str, float] = {}
    for site, weight in (beta if isinstance(beta, Mapping) else {"": beta}).items():
        if is_one_number(weight):
            suffix = f"/{site}" if site else ""
            row |= {f"beta{suffix}": float(weight), f"beta_paper{suffix}": float(weight) * size}
    return row


def is_one_number(weight: Weight) -> bool:
    """Whether a weight is one for all samples, in each site."""
    parts = weight.values() if isinstance(weight, Mapping) else [weight]
    return not any(isinstance(part, Tensor) and part.numel() > 1 for part in parts)


def warming_up(target: Weight, length: float) -> Schedule:
    """Return a weight's way from 0 to its target, in a straight line.

    Args:
        target: What it ends at, in each site.
        length: Epochs until then, a fraction included.

    >>> [warming_up(0.5, 2)(epoch) for epoch in (0, 1, 2, 3)]
    [0.0, 0.25, 0.5, 0.5]
    """
    target = deepcopy(target)

    def share(epoch: float) -> float:
        return linear_warm_up(epoch, target=1.0, warm_up=length)

    if isinstance(target, Mapping):
        return lambda epoch: {site: share(epoch) * part for site, part in target.items()}
    return lambda epoch: share(epoch) * target
