"""Step schedules of the learning rate, as a pure function of the number of epochs."""

from __future__ import annotations

from inference.names import require_known

__all__ = ["SCHEDULES", "milestones"]

# Fractions of the epochs after which the rate drops. The paper: 80 and 120 of 160; the authors' code: 80, 120
# and 160 of 200.
SCHEDULES: dict[str, tuple[float, ...]] = {
    "constant": (),
    "paper": (80 / 160, 120 / 160),
    "authors-code": (80 / 200, 120 / 200, 160 / 200),
}


def milestones(schedule: str, epochs: int) -> tuple[int, ...]:
    """Epochs after which a named schedule drops the learning rate.

    Args:
        schedule: A key of `SCHEDULES`.
        epochs: Length of the whole run.

    Returns:
        Numbers of finished epochs, strictly increasing, each within ``[1, epochs - 1]``.

    Raises:
        ValueError: If the schedule is unknown.

    >>> milestones("paper", 160)
    (80, 120)
    >>> milestones("authors-code", 200)
    (80, 120, 160)
    """
    require_known("schedule", schedule, SCHEDULES)
    drops = {round(fraction * epochs) for fraction in SCHEDULES[schedule]}
    return tuple(sorted(drop for drop in drops if 1 <= drop < epochs))
