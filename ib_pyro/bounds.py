"""Another name for the bounds on the likelihood of :mod:`ib_pyro.diagnostics`."""

from ib_pyro.diagnostics import importance_log_weights, importance_weighted_log_likelihood

__all__ = ["importance_log_weights", "importance_weighted_log_likelihood"]
