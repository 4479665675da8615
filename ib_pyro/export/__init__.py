"""Posteriors of fitted programs as ArviZ objects, in memory or in a file, and what ArviZ compares of them."""

from ib_pyro.export.inference_data import to_arviz
from ib_pyro.export.predictive_density import elpd

__all__ = ["elpd", "to_arviz"]
