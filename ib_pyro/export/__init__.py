"""Posteriors of fitted programs as ArviZ objects, in memory or in a file."""

from ib_pyro.export.inference_data import to_arviz

__all__ = ["to_arviz"]
