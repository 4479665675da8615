"""Priors that are made of the encoder's own posteriors: the pass of a VampPrior's pseudo-inputs."""

from collections.abc import Mapping

from pyro import poutine
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from ib_pyro.encoding import Sites, require_called
from ib_pyro.handlers import LayerCalls, noise_off
from ib_pyro.inputs import call_with
from ib_pyro.nn.stochastic import StochasticLayer
from ib_pyro.particles import evaluation_mode
from ib_pyro.priors.vamp import VampPrior

__all__ = ["posterior_of_pseudo_inputs", "vamp_priors"]

# What modules raise of inputs of another kind; a subclass says something of its own, such as what cannot be recorded.
WRONG_INPUTS = RuntimeError, TypeError, IndexError, ValueError


def vamp_priors(layers: Mapping[str, StochasticLayer]) -> dict[str, VampPrior]:
    """Return the priors of layers that only their program knows, by the name of the site.

    Args:
        layers: The layers by the name of their site.
    """
    priors = {name: getattr(layer, "prior", None) for name, layer in layers.items()}
    return {name: prior for name, prior in priors.items() if isinstance(prior, VampPrior)}


def posterior_of_pseudo_inputs(
    encoder: nn.Module, sites: Sites, site: str, prior: VampPrior
) -> TorchDistributionMixin:
    """Return ``p(z | u_k)`` of the pseudo-inputs, with its graph: the encoder runs on them in evaluation mode.

    Called outside of the plate of the data, whose size is not that of the pseudo-inputs.

    Args:
        encoder: The encoder.
        sites: Its sites.
        site: The site that the prior is for.
        prior: The prior.

    Returns:
        A law of batch shape ``[K]``.

    Raises:
        ValueError: If the encoder does not take the pseudo-inputs, or the site comes after another one; names the
            site.
    """
    inputs: Tensor = prior.inputs
    with evaluation_mode(encoder), poutine.block(), noise_off(), LayerCalls(sites.names) as calls:
        try:
            call_with(encoder, inputs)
        except WRONG_INPUTS as error:
            if type(error) not in WRONG_INPUTS:
                raise
            raise ValueError(
                f"site {site!r}: the encoder does not take the pseudo-inputs of its VampPrior, a tensor of shape "
                f"{tuple(inputs.shape)} ({(str(error).splitlines() or [type(error).__name__])[0]}); give it "
                "pseudo-inputs of the shape of x, or another prior, such as a MixturePrior, where x is more than one "
                "tensor"
            ) from error
    require_called(sites, calls)
    before = list(calls.laws)[: list(calls.laws).index(site)]
    if before:
        raise ValueError(
            f"site {site!r}: it comes after {before}, so that its posterior at a pseudo-input is given their values "
            "too and a VampPrior is no mixture of it; give the VampPrior to the first site, and this one a "
            "MixturePrior"
        )
    law: TorchDistributionMixin = calls.laws[site]  # type: ignore[assignment]
    return law
