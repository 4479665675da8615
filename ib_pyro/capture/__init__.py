"""Computations recorded once as a graph of tensor operations, with their gradient, and replayed."""

from ib_pyro.capture.captured_gradient import CapturedGradient, Identity, Replay, Settings
from ib_pyro.capture.recording import CaptureError

__all__ = ["CaptureError", "CapturedGradient", "Identity", "Replay", "Settings"]
