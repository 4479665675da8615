"""What cannot be measured here, and why."""

__all__ = ["NotMeasured"]


class NotMeasured(Exception):  # noqa: N818  (it is no error: the others are measured)
    """Something is not installed, or not there yet; says what."""
