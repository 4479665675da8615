"""Schedules of a weight such as beta: pure functions of the step."""

import math
from collections.abc import Callable

__all__ = ["SCHEDULES", "constant", "cosine_warm_up", "cyclical", "linear_warm_up"]


def constant(step: float, *, target: float) -> float:
    """Return the target at every step.

    Args:
        step: Number of finished steps (or epochs, or a fraction of them), at least 0.
        target: The weight.

    Raises:
        ValueError: If the step is negative.
    """
    _check_step(step)
    return target


def linear_warm_up(step: float, *, target: float, warm_up: float, start: float = 0.0) -> float:
    """Move in a straight line from ``start`` at step 0 to ``target`` at step ``warm_up``, and stay there.

    ``start + (target - start) * min(step / warm_up, 1)`` (Bowman et al. 2016, section 3.1; Sønderby et al. 2016).

    Args:
        step: Number of finished steps, at least 0.
        target: The weight from ``warm_up`` on.
        warm_up: Length of the ramp, in units of ``step``; 0 starts at the target.
        start: The weight at step 0.

    Raises:
        ValueError: If the step or the length is negative.

    >>> [linear_warm_up(step, target=2.0, warm_up=4) for step in (0, 1, 4, 9)]
    [0.0, 0.5, 2.0, 2.0]
    """
    return _between(start, target, _progress(step, warm_up))


def cosine_warm_up(step: float, *, target: float, warm_up: float, start: float = 0.0) -> float:
    """Move from ``start`` to ``target`` along half a cosine, flat at both ends, and stay there.

    ``start + (target - start) * (1 - cos(pi * min(step / warm_up, 1))) / 2``.

    Args:
        step: Number of finished steps, at least 0.
        target: The weight from ``warm_up`` on.
        warm_up: Length of the ramp, in units of ``step``; 0 starts at the target.
        start: The weight at step 0.

    Raises:
        ValueError: If the step or the length is negative.

    >>> [round(cosine_warm_up(step, target=2.0, warm_up=4), 3) for step in (0, 1, 2, 4, 9)]
    [0.0, 0.293, 1.0, 2.0, 2.0]
    """
    return _between(start, target, 0.5 * (1.0 - math.cos(math.pi * _progress(step, warm_up))))


def cyclical(step: float, *, target: float, period: float, ramp: float = 0.5, start: float = 0.0) -> float:
    """Warm up linearly at the beginning of every period, stay at ``target`` for its rest, and start again.

    ``start + (target - start) * min((step mod period) / (ramp * period), 1)`` (Fu et al. 2019, eq. 6).

    Args:
        step: Number of finished steps, at least 0.
        target: The weight in the later part of each period.
        period: Length of a cycle, in units of ``step``.
        ramp: Share of the cycle that the warm-up takes, in [0, 1].
        start: The weight at the beginning of each cycle.

    Raises:
        ValueError: If the step is negative, the period not positive, or the share outside of [0, 1].

    >>> [cyclical(step, target=1.0, period=4) for step in range(6)]
    [0.0, 0.5, 1.0, 1.0, 0.0, 0.5]
    """
    if not period > 0:
        raise ValueError(f"period must be positive; got {period}")
    if not 0 <= ramp <= 1:
        raise ValueError(f"ramp is a share of the period, in [0, 1]; got {ramp}")
    _check_step(step)
    return linear_warm_up(math.fmod(step, period), target=target, warm_up=ramp * period, start=start)


SCHEDULES: dict[str, Callable[..., float]] = {
    "constant": constant,
    "cosine": cosine_warm_up,
    "cyclical": cyclical,
    "linear": linear_warm_up,
}
"""The schedules by name; each takes the step and, by keyword, ``target`` and options of its own."""


def _check_step(step: float) -> None:
    if not step >= 0:
        raise ValueError(f"step must be at least 0; got {step}")


def _progress(step: float, warm_up: float) -> float:
    _check_step(step)
    if not warm_up >= 0:
        raise ValueError(f"warm_up must be at least 0; got {warm_up}")
    return 1.0 if step >= warm_up else step / warm_up


def _between(start: float, target: float, share: float) -> float:
    # The end is the target itself, not the target up to rounding, so that "reached" is a comparison.
    return target if share == 1.0 else start + (target - start) * share
