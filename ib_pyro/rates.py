"""The rate of a noisy activation under each prior: pure functions of tensors, in nats, elementwise.

A rate has the type that its arguments promote to; for the half types it is computed in float32.
"""

import math
from typing import overload

import torch
from torch import Tensor
from torch.nn import functional as F

from ib_pyro.atoms import on_or_off
from ib_pyro.choices import require_known
from ib_pyro.precision import raised

__all__ = [
    "LOG_UNIFORM_GAUSSIAN_LOG_C",
    "gaussian_log_uniform_rate",
    "log_normal_log_normal_rate",
    "log_normal_log_uniform_rate",
    "log_uniform_log_c",
    "noise_scale",
    "relaxed_gate_rate",
]

HALF_LOG_2PIE = 0.5 * math.log(2 * math.pi * math.e)
EULER_GAMMA = 0.57721566490153286

COTH_SERIES = (
    (1, 3),
    (-1, 45),
    (2, 945),
    (-1, 4725),
    (2, 93555),
    (-1382, 638512875),
    (4, 18243225),
)
KINGMA_CONSTANT = 0.5 * (EULER_GAMMA + math.log(2)) + 0.035
LOG_UNIFORM_GAUSSIAN_LOG_C = -HALF_LOG_2PIE - 0.5 * (EULER_GAMMA + math.log(2))
"""The log c for which the rate of N(1, alpha) noise under ``c / |z|`` tends to 0 as alpha grows."""


def noise_scale(logits: Tensor, alpha_min: float = 1e-3, alpha_max: float = 0.7) -> Tensor:
    """Squash the output of a noise branch to the scale alpha of the log-noise.

    ``alpha = alpha_min + (alpha_max - alpha_min) * sigmoid(logits)``
    (Achille & Soatto 2016, section 5, and the authors' code).

    Args:
        logits: The noise branch a(x), any shape.
        alpha_min: Smallest standard deviation of log eps.
        alpha_max: Largest standard deviation of log eps.

    Returns:
        alpha, in (alpha_min, alpha_max), of the shape of ``logits``.
    """
    share, span = torch.sigmoid(logits), alpha_max - alpha_min
    if isinstance(span, Tensor):
        return alpha_min + span * share
    # Scaled and shifted in one pass over memory, and rounded once.
    return torch.rsub(share, alpha_min, alpha=-span)


@overload
def log_uniform_log_c(alpha_max: float) -> float: ...


@overload
def log_uniform_log_c(alpha_max: Tensor) -> Tensor: ...


def log_uniform_log_c(alpha_max: float | Tensor) -> float | Tensor:
    """The constant of the improper log-uniform prior under which noise of scale ``alpha_max`` is free.

    ``log c = -log(alpha_max) - ½ log(2 pi e)``, so that the rate is ``log(alpha_max / alpha) >= 0``.

    Args:
        alpha_max: Largest standard deviation of log eps.

    Returns:
        log c, in nats.
    """
    if isinstance(alpha_max, Tensor):
        return -alpha_max.log() - HALF_LOG_2PIE
    return -math.log(alpha_max) - HALF_LOG_2PIE


def log_normal_log_uniform_rate(alpha: Tensor, log_c: Tensor | float) -> Tensor:
    """Rate of ``z = f * eps``, f > 0, ``log eps ~ N(m, alpha²)``, under the density ``c / z``.

    ``KL = -H(log eps) - log c = -log(alpha) - ½ log(2 pi e) - log c``: neither f nor m appears, because
    the log-uniform prior is invariant to scale (Achille & Soatto 2016, Proposition 2 as in its appendix).

    Args:
        alpha: Standard deviation of log eps, any shape.
        log_c: Logarithm of the prior's constant, broadcastable to ``alpha``.

    Returns:
        Nats per element.
    """
    dtype, alpha = _with_constant(alpha, log_c)
    return (-(log_c + HALF_LOG_2PIE) - alpha.log()).to(dtype)


def log_normal_log_normal_rate(loc: Tensor, alpha: Tensor, prior_loc: Tensor, prior_scale: Tensor) -> Tensor:
    """Rate of ``log z ~ N(loc, alpha²)`` under ``log z ~ N(prior_loc, prior_scale²)``.

    ``KL = (alpha² + (loc - prior_loc)²) / (2 prior_scale²) - log(alpha / prior_scale) - ½`` with
    ``loc = log f + m`` (Achille & Soatto 2016, Proposition 3, with the log f that its print drops).

    Args:
        loc: Mean of log z under the posterior, any shape; ``-inf`` (a unit that is off) costs ``+inf``.
        alpha: Standard deviation of log z under the posterior.
        prior_loc: Mean of log z under the prior.
        prior_scale: Standard deviation of log z under the prior.

    Returns:
        Nats per element, broadcast over the arguments.
    """
    dtype, (loc, alpha, prior_loc, prior_scale) = raised(loc, alpha, prior_loc, prior_scale)
    # log z of a unit that is off must not reach the square: its gradient would be NaN.
    difference = (on_or_off(loc, loc, is_log=True) - prior_loc) / prior_scale
    # In units of the prior's scale, whose square may leave the range of the type where the ratio's does not.
    rate = 0.5 * ((alpha / prior_scale).square() + difference.square())
    rate = rate - (alpha.log() - prior_scale.log()) - 0.5
    return on_or_off(loc, rate, math.inf, is_log=True).to(dtype)


def gaussian_log_uniform_rate(
    alpha: Tensor, *, approximation: str = "molchanov", log_c: Tensor | float = LOG_UNIFORM_GAUSSIAN_LOG_C
) -> Tensor:
    """Rate of ``z = f * eps``, ``eps ~ N(1, alpha)`` (alpha is the variance), under the density ``c / |z|``.

    ``KL = E log|1 + sqrt(alpha) n| - ½ log(2 pi e alpha) - log c`` has no elementary form. Two fits:

    * ``"molchanov"``: ``k1 - k1 sigmoid(k2 + k3 log alpha) + ½ log(1 + 1/alpha)``
      (Molchanov, Ashukha & Vetrov 2017, eq. 14), for every alpha;
    * ``"kingma"``: ``-½ log alpha - c1 alpha - c2 alpha² - c3 alpha³ + const``
      (Kingma, Salimans & Welling 2015, eq. 12), for alpha <= 1.

    Under the default ``log_c`` the exact rate tends to 0 as alpha grows. Molchanov's fit is within 0.008 nats
    of it everywhere; Kingma's, whose constant is free and set here, within 0.005 for 0.1 <= alpha <= 1 and
    within 0.035 below.

    Args:
        alpha: Variance of eps, any shape.
        approximation: ``"molchanov"`` or ``"kingma"``.
        log_c: Logarithm of the prior's constant.

    Returns:
        Nats per element.

    Raises:
        ValueError: If the approximation is unknown.
    """
    require_known("approximation=", approximation, ("molchanov", "kingma"))
    dtype, alpha = _with_constant(alpha, log_c)
    log_alpha = alpha.log()
    offset = LOG_UNIFORM_GAUSSIAN_LOG_C - log_c
    if approximation == "molchanov":
        k1, k2, k3 = 0.63576, 1.87320, 1.48695
        rate = k1 * torch.sigmoid(-(k2 + k3 * log_alpha)) + 0.5 * F.softplus(-log_alpha) + offset
    else:
        c1, c2, c3 = 1.16145124, -1.50204118, 0.58629921
        cubic = alpha * (c1 + alpha * (c2 + alpha * c3))
        rate = -0.5 * log_alpha - cubic + KINGMA_CONSTANT + offset
    return rate.to(dtype)


def relaxed_gate_rate(difference: Tensor) -> Tensor:
    r"""Rate of a relaxed gate under another one of the same temperature, by the difference of their logits.

    ``KL = d coth(d / 2) - 2`` with ``d = mu - mu_prior``: that of two logistic laws of one scale, and so of the binary
    concrete gates of Gal, Hron & Kendall (2017), exactly and at every temperature. It is not the rate of the Bernoulli
    gates that they tend to, ``p log(p / q) + (1 - p) log((1 - p) / (1 - q))``, which is smaller: a relaxed gate tells
    more than on or off.

    Args:
        difference: d, any shape.

    Returns:
        Nats per element; ``d² / 6`` for a small d.
    """
    dtype, (difference,) = raised(difference)
    half = 0.5 * difference
    small = half.abs() < 0.3
    square, series = half.square().masked_fill(~small, 0.0), torch.zeros_like(half)
    # x coth x - 1 in powers of x²: 2^2n B_2n / (2n)!.
    for numerator, denominator in reversed(COTH_SERIES):
        series = (series + numerator / denominator) * square
    wide = half.masked_fill(small, 1.0)
    return (2 * torch.where(small, series, wide / torch.tanh(wide) - 1)).to(dtype)


def _with_constant(alpha: Tensor, log_c: Tensor | float) -> tuple[torch.dtype, Tensor]:
    """The type of a rate, and alpha in the one that it is computed in."""
    dtype, (alpha, *_) = raised(alpha, log_c) if isinstance(log_c, Tensor) else raised(alpha)
    return dtype, alpha
