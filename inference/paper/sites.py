"""What each noisy layer of a fitted program holds: samples, elementwise rates, and the prior they are charged by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from pyro.distributions import LogNormal
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions import kl_divergence

from ib_pyro import Bottleneck
from ib_pyro.data import batches
from ib_pyro.distributions import FactorizedLogNormal
from ib_pyro.handlers import SiteRecorder
from ib_pyro.nn import StochasticLayer
from inference.randomness import seeded

__all__ = ["elementwise_rates", "sample_sites", "scalar_prior"]


@torch.no_grad()
def sample_sites(
    program: Bottleneck, x: Tensor, *, seed: int = 0, batch_size: int = 250
) -> dict[str, Tensor]:
    """Draw every noisy site once for each image.

    Args:
        program: In evaluation mode.
        x: Images, ``[N, C, H, W]``.
        seed: Seed of the noise.
        batch_size: Images at a time.

    Returns:
        z of each site, ``[N, ...]``.
    """
    drawn: dict[str, list[Tensor]] = {}
    with seeded(seed):
        for (part,) in batches([x], batch_size, shuffle=False):
            with SiteRecorder() as recorder:
                program.encoder(part)
            for name, value in recorder.values.items():
                drawn.setdefault(name, []).append(value)
    return {name: torch.cat(parts) for name, parts in drawn.items()}


@torch.no_grad()
def elementwise_rates(
    program: Bottleneck, x: Tensor, *, seed: int = 0, batch_size: int = 250
) -> dict[str, Tensor]:
    """Rate of every unit of every noisy site, given one sample of the sites before it.

    Args:
        program: In evaluation mode.
        x: Images, ``[N, C, H, W]``.
        seed: Seed of the noise.
        batch_size: Images at a time.

    Returns:
        Nats per element, of the shape of z, by site.
    """
    rates: dict[str, list[Tensor]] = {}
    with seeded(seed):
        for (part,) in batches([x], batch_size, shuffle=False):
            with _recorded_inputs(program) as inputs:
                program.encoder(part)
            for name, layer in program.stochastic_layers.items():
                rates.setdefault(name, []).append(_rate(layer, inputs[name]))
    return {name: torch.cat(parts) for name, parts in rates.items()}


def scalar_prior(layer: StochasticLayer) -> TorchDistributionMixin:
    """The prior of one unit of a layer whose units share it, of batch shape ``[1]``."""
    return _elementwise_prior(layer, torch.Size([1]))


def _rate(layer: StochasticLayer, inputs: Tensor) -> Tensor:
    posterior = layer.posterior(inputs)
    return kl_divergence(posterior, _elementwise_prior(layer, posterior.batch_shape[1:]))


def _elementwise_prior(layer: StochasticLayer, event_shape: torch.Size) -> TorchDistributionMixin:
    prior = layer.prior_distribution(event_shape)
    if isinstance(prior, FactorizedLogNormal):
        return LogNormal(prior.loc, prior.scale)
    # A prior over the event is an elementwise one whose dimensions were declared as the event's.
    return prior.base_dist if prior.event_dim else prior


@contextmanager
def _recorded_inputs(program: Bottleneck) -> Iterator[dict[str, Tensor]]:
    inputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            inputs[name] = arguments[0]

        return hook

    handles = [
        layer.register_forward_pre_hook(keep(name)) for name, layer in program.stochastic_layers.items()
    ]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()
