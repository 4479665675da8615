"""Optima of the information bottleneck, closed-form or found by search, to measure programs against."""

from ib_pyro.oracle.discrete import DiscreteIB, discrete_factorised_ib, discrete_ib
from ib_pyro.oracle.gaussian import GaussianIB, gaussian_ib

__all__ = ["DiscreteIB", "GaussianIB", "discrete_factorised_ib", "discrete_ib", "gaussian_ib"]
