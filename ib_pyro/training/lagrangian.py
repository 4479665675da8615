"""The Lagrangian of a row of means, and weights that move over the epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ib_pyro.elbo.weights import Weight, weight_of

__all__ = ["Schedule", "lagrangian"]

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
