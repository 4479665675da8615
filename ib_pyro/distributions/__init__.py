"""Multiplicative noise and the priors of a noisy representation, as Pyro distributions."""

from ib_pyro.distributions import kl as _kl  # noqa: F401  (registers the divergences)
from ib_pyro.distributions.factorized_log_normal import FactorizedLogNormal
from ib_pyro.distributions.gate_logit import GateLogit
from ib_pyro.distributions.multiplicative_bernoulli import MultiplicativeBernoulli
from ib_pyro.distributions.multiplicative_log_normal import MultiplicativeLogNormal
from ib_pyro.distributions.multiplicative_normal import MultiplicativeNormal
from ib_pyro.distributions.noisy_activation import NoiseVariable, NoisyActivation
from ib_pyro.distributions.zero_inflated_log_uniform import ZeroInflatedLogUniform

__all__ = [
    "FactorizedLogNormal",
    "GateLogit",
    "MultiplicativeBernoulli",
    "MultiplicativeLogNormal",
    "MultiplicativeNormal",
    "NoiseVariable",
    "NoisyActivation",
    "ZeroInflatedLogUniform",
]
