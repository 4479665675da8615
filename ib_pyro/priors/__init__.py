"""Priors beyond the closed forms: mixtures, flows, and the encoder's own posteriors at pseudo-inputs."""

from ib_pyro.priors.flow import FlowPrior
from ib_pyro.priors.given import Prior, check_prior, prior_over
from ib_pyro.priors.mixture import MixturePrior
from ib_pyro.priors.vamp import VampPrior

__all__ = ["FlowPrior", "MixturePrior", "Prior", "VampPrior", "check_prior", "prior_over"]
