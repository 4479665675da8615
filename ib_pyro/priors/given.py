"""A prior that is given to a layer: a law of one unit, of one sample, or what makes one."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin

__all__ = ["Prior", "check_prior", "prior_over"]

Prior = TorchDistributionMixin | Callable[[torch.Size], TorchDistributionMixin]
"""A distribution, or a function (a module, if it learns) from one sample's shape to a distribution over it."""


def check_prior(prior: Any) -> None:  # noqa: ANN401  (whatever is given)
    """Raise unless a value can be a prior.

    Args:
        prior: What is given as one.

    Raises:
        TypeError: If it is neither a distribution of Pyro nor a function; says what to pass.
        ValueError: If it is a distribution with both a batch and an event, of which neither is one sample.
    """
    if isinstance(prior, TorchDistributionMixin):
        if prior.event_shape and prior.batch_shape:
            raise ValueError(
                f"prior has batch shape {tuple(prior.batch_shape)} beside event shape {tuple(prior.event_shape)}; "
                "pass the law of one unit, without an event, or that of one sample, without a batch"
            )
    elif not callable(prior):
        raise TypeError(
            f"prior is a {type(prior).__name__}; pass a distribution of pyro.distributions, or a function "
            "from the event shape to a distribution over it"
        )


def prior_over(prior: Prior, event_shape: torch.Size) -> TorchDistributionMixin:
    """Return a given prior as the law of one sample.

    The law of one unit, without an event, is that of independent units; one of the last dimensions of a sample is that
    of each position. What has the whole shape is taken as it is.

    Args:
        prior: A distribution, or a function from the event shape to one.
        event_shape: Shape of one sample of z.

    Returns:
        A law without batch dimensions, of the event shape.

    Raises:
        ValueError: If its shape does not fit that of one sample; says both.

    >>> import pyro.distributions as dist
    >>> prior_over(dist.Normal(0.0, 1.0), torch.Size([3])).event_shape
    torch.Size([3])
    """
    event_shape = torch.Size(event_shape)
    law = prior if isinstance(prior, TorchDistributionMixin) else prior(event_shape)
    if not isinstance(law, TorchDistributionMixin):
        raise ValueError(
            f"prior({tuple(event_shape)}) returns a {type(law).__name__}; it must return a distribution"
        )
    if law.event_shape == event_shape and not law.batch_shape:
        return law
    own = len(event_shape) - law.event_dim
    try:
        if own >= 0 and law.event_shape == event_shape[own:]:
            return law.expand(event_shape[:own]).to_event(own)
    except (RuntimeError, ValueError):
        pass
    raise ValueError(
        f"prior has batch shape {tuple(law.batch_shape)} and event shape {tuple(law.event_shape)}, but one sample of "
        f"z has shape {tuple(event_shape)}; pass the law of one unit, one of that event shape, or a function from the "
        "event shape to a distribution over it"
    )
