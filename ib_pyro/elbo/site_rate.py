"""The rate of one latent site: in closed form where there is one, and otherwise at the draw."""

import math
from collections.abc import Set
from typing import Any, NamedTuple

import torch
from pyro.distributions import Independent, MaskedDistribution
from torch import Tensor
from torch.distributions import Distribution

from ib_pyro.choices import require_known
from ib_pyro.closed_forms import UntrueRuleError, closed_form
from ib_pyro.handlers import unwrap
from ib_pyro.sites import Site, is_point, is_silenced, log_prob_of

__all__ = ["MissingKLError", "Rate", "check_estimator", "require_same_scale", "site_rate"]


class MissingKLError(NotImplementedError):
    """A site's rate has no closed form: no KL divergence is registered, or its order rules it out."""


class Rate(NamedTuple):
    """A site's rate, and how it was found.

    Attributes:
        values: Nats, of the site's batch shape, before scale and mask.
        estimator: ``"analytic"``: the KL divergence; ``"monte-carlo"``: ``log p(z|x) - log q(z)`` at the draw, whose
            mean that is; ``"point"``: the same of a ``Delta``, whose density is a number by convention; ``"none"``:
            the site is masked as a whole on both sides, so that no rate is charged, and the values are 0.
        units: Nats of each unit, of the shape of z, where they are asked for.
    """

    values: Tensor
    estimator: str
    units: Tensor | None = None


def check_estimator(choice: str, option: str) -> str:
    """Return what to do about a rate without a closed form.

    Raises:
        ValueError: If the choice is unknown.
    """
    return require_known(f"{option}=", choice, ("error", "monte-carlo"))


def site_rate(
    name: str,
    guide_site: Site,
    model_site: Site,
    *,
    on_no_closed_form: str = "error",
    later: Set[str] = frozenset(),
    sampled: bool = False,
) -> Rate:
    """Return a site's rate ``KL(p(z|x) || q(z))``.

    Args:
        name: The site's name.
        guide_site: Its message in the guide's trace, which holds the posterior p(z|x).
        model_site: Its message in the model's trace, which holds the prior q(z).
        on_no_closed_form: ``"error"``, or ``"monte-carlo"`` for ``log p(z|x) - log q(z)`` at the sampled z.
        later: Latents that the model's law depends on and the guide samples later, so that there is no closed form.
        sampled: Whether to take the rate at the draw even if there is one.

    Raises:
        ValueError: If the site is scaled or masked on one side only, or has another event shape there.
        MissingKLError: If there is no closed form and none was to be replaced by samples.
    """
    require_same_scale(name, guide_site, model_site)
    posterior, prior = guide_site["fn"], model_site["fn"]
    if posterior.event_shape != prior.event_shape:
        raise ValueError(
            f"site {name!r}: its event shape is {tuple(posterior.event_shape)} in the guide but "
            f"{tuple(prior.event_shape)} in the model; use .to_event() so that both have the same"
        )
    if is_silenced(posterior) and is_silenced(prior):
        return Rate(guide_site["value"].new_zeros(posterior.batch_shape), "none")
    rate = _charged_rate(name, guide_site, model_site, on_no_closed_form, later, sampled=sampled)
    return rate._replace(estimator="none") if guide_site["mask"] is False else rate


def _charged_rate(
    name: str,
    guide_site: Site,
    model_site: Site,
    on_no_closed_form: str,
    later: Set[str],
    *,
    sampled: bool,
) -> Rate:
    point = is_point(guide_site["fn"])
    if not (sampled or point):
        try:
            return Rate(_closed_form(name, guide_site, model_site, later), "analytic")
        except MissingKLError:
            if on_no_closed_form == "error":
                raise
    at_draw = log_prob_of(name, guide_site) - log_prob_of(name, model_site)
    return Rate(at_draw, "point" if point else "monte-carlo")


def _closed_form(name: str, guide_site: Site, model_site: Site, later: Set[str]) -> Tensor:
    posterior, prior = guide_site["fn"], model_site["fn"]
    if later:
        raise MissingKLError(
            f"site {name!r}: its law in the model depends on {sorted(later)}, which the guide samples later, so that "
            "its rate has no closed form. Sample the sites in the model's order in the guide, or take the rate at the "
            f'draw: on_no_closed_form="monte-carlo", or sampled_rates=[{name!r}]'
        )
    if not _have_same_masks(posterior, prior):
        raise MissingKLError(
            f"site {name!r}: the laws of guide and model are masked by .mask() with different masks, so that its rate "
            'has no closed form; use the same mask on both sides, or pass on_no_closed_form="monte-carlo"'
        )
    try:
        rate = _divergence(posterior, prior)
    except NotImplementedError as error:
        raise MissingKLError(_describe_missing(name, posterior, prior, error)) from error
    except ValueError as error:
        raise ValueError(f"site {name!r}: {error}") from error
    # Sites masked as a whole on both sides have the number zero.
    return rate if isinstance(rate, Tensor) else guide_site["value"].new_full(posterior.batch_shape, rate)


def _divergence(posterior: Distribution, prior: Distribution) -> Any:  # noqa: ANN401  (a number, of masked laws)
    if type(posterior) is type(prior) is Independent:
        event_dim = posterior.reinterpreted_batch_ndims
        if event_dim == prior.reinterpreted_batch_ndims:
            # Pyro's rule for these, in half of its time.
            rate = closed_form(posterior.base_dist, prior.base_dist)
            if not isinstance(rate, Tensor) or event_dim == 0:
                return rate
            return (rate if event_dim == 1 else rate.flatten(-event_dim)).sum(-1)
    return closed_form(posterior, prior)


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
    if type(posterior) is not type(prior) and not isinstance(error, UntrueRuleError):
        hint = f"; they are wrapped as {type(posterior).__name__} and {type(prior).__name__}"
    return (
        f"site {name!r}: no closed-form KL is known from {type(unwrap(posterior)).__name__} (guide) to "
        f"{type(unwrap(prior)).__name__} (model){hint}. Use .to_event() and .mask() alike on both sides, register "
        'one with torch.distributions.register_kl, or pass on_no_closed_form="monte-carlo"'
    )


def _have_same_masks(posterior: Distribution, prior: Distribution) -> bool:
    """Whether wrappers mask both laws alike; the rule for masked laws would take what both leave in."""
    masks = _masks_of(posterior), _masks_of(prior)
    return len(masks[0]) != len(masks[1]) or all(a is b or _equal(a, b) for a, b in zip(*masks, strict=True))


def _masks_of(fn: Distribution) -> list[object]:
    masks: list[object] = []
    while hasattr(fn, "base_dist"):
        if isinstance(fn, MaskedDistribution):
            masks.append(fn._mask)
        fn = fn.base_dist
    return masks


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
