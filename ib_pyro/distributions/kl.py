"""Every registered KL divergence of this package's distributions, in nats.

Each has the type that the parameters of both sides promote to; for the half types it is computed in float32.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from pyro.distributions.util import sum_rightmost
from torch import Tensor
from torch.distributions import Independent, LogNormal, Normal, kl_divergence, register_kl

from ib_pyro.atoms import on_or_off
from ib_pyro.distributions.factorized_log_normal import FactorizedLogNormal
from ib_pyro.distributions.gate_logit import GateLogit
from ib_pyro.distributions.multiplicative_bernoulli import MultiplicativeBernoulli
from ib_pyro.distributions.multiplicative_log_normal import MultiplicativeLogNormal
from ib_pyro.distributions.multiplicative_normal import MultiplicativeNormal
from ib_pyro.distributions.zero_inflated_log_uniform import ZeroInflatedLogUniform
from ib_pyro.precision import raised
from ib_pyro.rates import (
    gaussian_log_uniform_rate,
    log_normal_log_normal_rate,
    log_normal_log_uniform_rate,
    relaxed_gate_rate,
)

__all__: list[str] = []


def _inf_beyond_bounds(rate: Tensor, q: ZeroInflatedLogUniform) -> Tensor:
    """A posterior that covers all of (0, inf) has mass outside of a bounded prior: its rate is infinite."""
    return rate if q.covers_line else rate.masked_fill((q.low > 0) | (q.high < math.inf), math.inf)


def _on_or_off(choose: Callable[..., Tensor], on_rate: Tensor, q: ZeroInflatedLogUniform) -> Tensor:
    """The rate of a mixed measure: ``-log gate`` on the atom, the continuous part's rate elsewhere."""
    on_rate = _inf_beyond_bounds(on_rate, q)
    if on_rate.shape != q.batch_shape:
        return choose(on_rate, -q.log_gate)
    return choose(on_rate, 0.0 if q.has_free_atom else -q.unexpanded.log_gate)


@register_kl(MultiplicativeLogNormal, ZeroInflatedLogUniform)
def _kl_multiplicative_log_normal_log_uniform(
    p: MultiplicativeLogNormal, q: ZeroInflatedLogUniform
) -> Tensor:
    _require_one_sided(q)
    log_c = q.log_c_number if p.alpha.dtype == q.gate.dtype else None
    rate = log_normal_log_uniform_rate(p.alpha, q.unexpanded.log_c if log_c is None else log_c)
    return _on_or_off(p.on_or_off, rate, q).to(_common(p.alpha, q.gate))


@register_kl(LogNormal, ZeroInflatedLogUniform)
def _kl_log_normal_log_uniform(p: LogNormal, q: ZeroInflatedLogUniform) -> Tensor:
    _require_one_sided(q)
    rate = log_normal_log_uniform_rate(p.scale, q.log_c)
    return _inf_beyond_bounds(rate, q).to(_common(p.loc, p.scale, q.gate))


@register_kl(MultiplicativeNormal, ZeroInflatedLogUniform)
def _kl_multiplicative_normal_log_uniform(p: MultiplicativeNormal, q: ZeroInflatedLogUniform) -> Tensor:
    if not q.two_sided:
        raise ValueError(
            "Gaussian noise reaches below zero, where a one-sided log-uniform prior has no mass: the KL is "
            "+inf; give the prior two_sided=True, which is log-uniform in |z|"
        )
    rate = gaussian_log_uniform_rate(p.alpha, approximation=p.approximation, log_c=q.log_c)
    return _on_or_off(partial(on_or_off, p.activation), rate, q).to(_common(p.alpha, q.gate))


@register_kl(MultiplicativeBernoulli, ZeroInflatedLogUniform)
def _kl_multiplicative_bernoulli_log_uniform(p: MultiplicativeBernoulli, q: ZeroInflatedLogUniform) -> Tensor:
    rate = torch.where(p.activation == 0, -q.log_gate, math.inf)
    return rate.to(_common(p.activation, q.gate))


@register_kl(ZeroInflatedLogUniform, ZeroInflatedLogUniform)
def _kl_log_uniform_log_uniform(p: ZeroInflatedLogUniform, q: ZeroInflatedLogUniform) -> Tensor:
    if not p.is_proper:
        raise NotImplementedError("an improper log-uniform has no KL divergence to another distribution")
    dtype, (p_gate, q_gate) = raised(p.gate, q.gate)
    mass = 1 - p_gate
    nested = (p.low >= q.low) & (p.high <= q.high)
    if p.two_sided and not q.two_sided:
        nested = torch.zeros_like(nested)
    continuous = torch.where(mass > 0, mass * (p.log_c - q.log_c), 0.0)
    continuous = continuous.masked_fill(~nested & (mass > 0), math.inf)
    atom = torch.special.xlogy(p_gate, p_gate) - torch.special.xlogy(p_gate, q_gate)
    return (atom + continuous).to(dtype)


@register_kl(MultiplicativeLogNormal, MultiplicativeLogNormal)
def _kl_multiplicative_log_normal_multiplicative_log_normal(
    p: MultiplicativeLogNormal, q: MultiplicativeLogNormal
) -> Tensor:
    dtype, (p_alpha, q_alpha) = raised(p.alpha, q.alpha)
    compute = p_alpha.dtype
    rate = log_normal_log_normal_rate(p.finite_loc(compute), p_alpha, q.finite_loc(compute), q_alpha)
    both, either = p.is_atom & q.is_atom, p.is_atom | q.is_atom
    return rate.masked_fill(either, math.inf).masked_fill(both, 0.0).to(dtype)


@register_kl(MultiplicativeLogNormal, LogNormal)
def _kl_multiplicative_log_normal_log_normal(p: MultiplicativeLogNormal, q: LogNormal) -> Tensor:
    return _log_normal_rate(p, q)


@register_kl(MultiplicativeLogNormal, FactorizedLogNormal)
def _kl_multiplicative_log_normal_factorized(p: MultiplicativeLogNormal, q: FactorizedLogNormal) -> Tensor:
    _require_same_event(p, q)
    return _log_normal_rate(p, q)


@register_kl(Independent, FactorizedLogNormal)
def _kl_independent_factorized(p: Independent, q: FactorizedLogNormal) -> Tensor:
    _require_same_event(p, q)
    return sum_rightmost(kl_divergence(p.base_dist, q.units), len(q.event_shape))


@register_kl(FactorizedLogNormal, Independent)
def _kl_factorized_independent(p: FactorizedLogNormal, q: Independent) -> Tensor:
    _require_same_event(p, q)
    return sum_rightmost(kl_divergence(p.units, q.base_dist), len(p.event_shape))


@register_kl(FactorizedLogNormal, FactorizedLogNormal)
def _kl_factorized_factorized(p: FactorizedLogNormal, q: FactorizedLogNormal) -> Tensor:
    _require_same_event(p, q)
    return sum_rightmost(log_normal_log_normal_rate(p.loc, p.scale, q.loc, q.scale), len(p.event_shape))


@register_kl(MultiplicativeNormal, Normal)
def _kl_multiplicative_normal_normal(p: MultiplicativeNormal, q: Normal) -> Tensor:
    dtype, (f, alpha, loc, scale) = raised(p.activation, p.alpha, q.loc, q.scale)
    f = f.masked_fill(p.is_atom, 1.0)
    # In units of the prior's scale: the square of f may leave the range of the type where the rate does not.
    size, distance = f.abs() / scale * alpha.sqrt(), (f - loc) / scale
    log_ratio = f.abs().log() + 0.5 * alpha.log() - scale.log()
    rate = 0.5 * (size.square() + distance.square() - 1) - log_ratio
    return rate.masked_fill(p.is_atom, math.inf).to(dtype)


@register_kl(GateLogit, GateLogit)
def _kl_gate_logit_gate_logit(p: GateLogit, q: GateLogit) -> Tensor:
    if p.temperature != q.temperature:
        raise NotImplementedError(f"the gates have the temperatures {p.temperature:g} and {q.temperature:g}")
    return relaxed_gate_rate(p.logits - q.logits)


def _log_normal_rate(p: MultiplicativeLogNormal, q: LogNormal | FactorizedLogNormal) -> Tensor:
    dtype = _common(p.alpha, q.loc, q.scale)
    loc = p.loc_in(torch.promote_types(dtype, torch.float32))
    return log_normal_log_normal_rate(loc, p.alpha, q.loc, q.scale).to(dtype)


def _common(first: Tensor, *others: Tensor) -> torch.dtype:
    """The type that parameters of both sides promote to, whatever their dimensions."""
    dtype = first.dtype
    for other in others:
        dtype = torch.promote_types(dtype, other.dtype)
    return dtype


def _require_same_event(p: object, q: object) -> None:
    if p.event_shape != q.event_shape:  # type: ignore[attr-defined]
        raise NotImplementedError(
            f"event shapes {tuple(p.event_shape)} and {tuple(q.event_shape)} differ; "  # type: ignore[attr-defined]
            "use .to_event() so that both sides have the same event dimensions"
        )


def _require_one_sided(q: ZeroInflatedLogUniform) -> None:
    if q.two_sided:
        raise NotImplementedError(
            "a two-sided log-uniform prior is for Gaussian noise; log-normal noise takes two_sided=False"
        )
