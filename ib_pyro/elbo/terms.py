"""The rate of one latent site, analytic or sampled."""

import math

import torch
from pyro.distributions import Delta
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from ib_pyro.elbo.sites import Site, log_prob_of
from ib_pyro.handlers import unwrap

__all__ = ["MissingKLError", "require_same_scale", "site_rate"]


class MissingKLError(NotImplementedError):
    """No closed-form KL divergence is registered for a site's posterior and prior."""


def site_rate(name: str, guide_site: Site, model_site: Site, on_missing_kl: str) -> Tensor:
    """Return a site's rate ``KL(p(z|x) || q(z))`` in nats, of its batch shape, before scale and mask.

    Args:
        name: The site's name.
        guide_site: Its message in the guide's trace, which holds the posterior p(z|x).
        model_site: Its message in the model's trace, which holds the prior q(z).
        on_missing_kl: ``"error"``, or ``"monte-carlo"`` for ``log p(z|x) - log q(z)`` at the sampled z.

    Raises:
        ValueError: If the site is scaled or masked on one side only.
        MissingKLError: If there is no closed form and none was to be replaced by samples.
    """
    require_same_scale(name, guide_site, model_site)
    posterior, prior = guide_site["fn"], model_site["fn"]
    if isinstance(posterior, Delta):
        # Pyro's own rule drops log_density, the Jacobian that automatic guides put there.
        return posterior.log_density - prior.log_prob(posterior.v)
    try:
        rate = kl_divergence(posterior, prior)
        # Sites masked as a whole on both sides have the number zero.
        return rate if isinstance(rate, Tensor) else guide_site["value"].new_full(posterior.batch_shape, rate)
    except NotImplementedError as error:
        if on_missing_kl == "monte-carlo":
            return log_prob_of(name, guide_site) - log_prob_of(name, model_site)
        raise MissingKLError(_describe_missing(name, posterior, prior, error)) from error
    except ValueError as error:
        raise ValueError(f"site {name!r}: {error}") from error


def require_same_scale(name: str, guide_site: Site, model_site: Site) -> None:
    """Raise if a site is scaled or masked on one side only, which would give wrong numbers without a word.

    Raises:
        ValueError: Names the site and both values.
    """
    for kind in ("scale", "mask"):
        guide_value, model_value = guide_site[kind], model_site[kind]
        if guide_value is model_value or _equal(guide_value, model_value):
            continue
        advice = ", or weight its rate with beta={site: ...}" if kind == "scale" else ""
        raise ValueError(
            f"site {name!r}: its {kind} is {_short(guide_value)} in the guide but {_short(model_value)} in the "
            f"model; put the same poutine.{kind} around the site on both sides{advice}"
        )


def _describe_missing(name: str, posterior: Distribution, prior: Distribution, error: Exception) -> str:
    hint = f" ({error})" if str(error) else ""
    if posterior.event_shape != prior.event_shape:
        hint = f"; their event shapes are {tuple(posterior.event_shape)} and {tuple(prior.event_shape)}"
    elif type(posterior) is not type(prior):
        hint = f"; they are wrapped as {type(posterior).__name__} and {type(prior).__name__}"
    return (
        f"site {name!r}: no closed-form KL is known from {type(unwrap(posterior)).__name__} (guide) to "
        f"{type(unwrap(prior)).__name__} (model){hint}. Use .to_event() and .mask() alike on both sides, register "
        'one with torch.distributions.register_kl, or pass on_missing_kl="monte-carlo"'
    )


def _equal(a: object, b: object) -> bool:
    if a is None or b is None:
        return False
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        a, b = torch.as_tensor(a), torch.as_tensor(b)
        return a.shape == b.shape and torch.allclose(a.to(b), b)
    # Plates that nest in another order multiply their scales in another order.
    return isinstance(a, int | float) and isinstance(b, int | float) and math.isclose(a, b)


def _short(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}" if value.numel() > 1 else str(value.item())
    return str(value)
