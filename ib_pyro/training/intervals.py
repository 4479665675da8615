"""Intervals of a share and of a mean over samples."""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.stats import binomtest, norm
from torch import Tensor

__all__ = ["Interval", "normal", "wilson"]


class Interval(NamedTuple):
    """An estimate with its interval.

    Attributes:
        estimate: The estimate.
        low: Lower end.
        high: Upper end.
        method: How the ends were found: ``"wilson"`` or ``"normal"``.
    """

    estimate: float
    low: float
    high: float
    method: str


def wilson(wrong: int, size: int, confidence: float = 0.95) -> Interval:
    """Return a share with Wilson's score interval, which holds for shares near 0 too (Wilson 1927).

    Args:
        wrong: Number of samples that count.
        size: Number of samples.
        confidence: Level of the interval.
    """
    found = binomtest(wrong, size).proportion_ci(confidence, method="wilson")
    return Interval(wrong / size, float(found.low), float(found.high), "wilson")


def normal(values: Tensor, confidence: float = 0.95) -> Interval:
    """Return the mean of samples, with the normal interval ``mean ± z s / sqrt(N)``.

    Args:
        values: One value a sample, ``[N]``, in the widest type of its device.
        confidence: Level of the interval.
    """
    mean = values.mean().item()
    if len(values) < 2:
        return Interval(mean, math.nan, math.nan, "normal")
    half = float(norm.ppf((1 + confidence) / 2)) * values.std().item() / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half, "normal")
