"""What is raised where runs cannot be trained side by side."""

from ib_pyro.capture import CaptureError

__all__ = ["VectorizationError", "refusal_of"]

CAPTURE = "the program cannot be captured: ", "do without capture"


class VectorizationError(ValueError):
    """Programs cannot be trained side by side: the message says why, and the way out."""


def refusal_of(error: CaptureError) -> VectorizationError:
    """Return what a refusal to record a program says to who trains runs side by side."""
    reason = str(error).removeprefix(CAPTURE[0]).replace(CAPTURE[1], "train the runs one by one")
    return VectorizationError(f"the program cannot be run for several at once: {reason}")
