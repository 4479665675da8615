"""Rates and draws of a training step against the same written with `torch.where`, in every type and transform."""

import math

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.distributions import kl_divergence
from torch.fx.experimental.proxy_tensor import make_fx

from ib_pyro.distributions import (
    FactorizedLogNormal,
    MultiplicativeLogNormal,
    MultiplicativeNormal,
    ZeroInflatedLogUniform,
)
from ib_pyro.nn import ConstantDropout, GaussianDropout, InformationDropout
from ib_pyro.rates import gaussian_log_uniform_rate, log_normal_log_normal_rate

B, WIDTH = 7, 33
HALF_LOG_2PIE = 0.5 * math.log(2 * math.pi * math.e)
DOUBLE = torch.float64
TYPES = {DOUBLE: 1e-13, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


def parameters(dtype: torch.dtype = DOUBLE, *shape: int) -> tuple[Tensor, Tensor]:
    """An activation that is off for a half of the units, and the scale of its noise."""
    shape = shape or (B, WIDTH)
    f, alpha = torch.randn(shape, dtype=DOUBLE).relu(), 0.05 + 0.6 * torch.rand(shape, dtype=DOUBLE)
    return f.to(dtype).requires_grad_(), alpha.to(dtype).requires_grad_()


def rate_by_where(f: Tensor, alpha: Tensor, log_gate: Tensor | float, log_c: Tensor | float) -> Tensor:
    return torch.where(f == 0, -log_gate, -alpha.log() - HALF_LOG_2PIE - log_c)


def rate(f: Tensor, alpha: Tensor, prior: ZeroInflatedLogUniform) -> Tensor:
    p = MultiplicativeLogNormal(f, alpha, validate_args=False)
    return kl_divergence(p, prior.expand(p.batch_shape))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("gate", [1.0, 0.3, 0.0])
@pytest.mark.parametrize("as_number", [True, False])
def test_log_uniform_prior(dtype, gate, as_number):
    f, alpha = parameters(dtype)
    like = torch.empty((), dtype=dtype)
    given = gate if as_number else torch.tensor(gate, dtype=dtype)
    values = rate(f, alpha, ZeroInflatedLogUniform(given, log_c=-0.9, like=like))
    log_gate = torch.tensor(gate, dtype=dtype).double().log()
    expected = rate_by_where(f.double(), alpha.double(), log_gate, -0.9)
    assert values.dtype == dtype
    torch.testing.assert_close(values.double(), expected, rtol=TYPES[dtype], atol=TYPES[dtype])
    finite = expected.isfinite()
    gradients = [
        torch.autograd.grad(v[finite].sum(), (f, alpha), allow_unused=True) for v in (values, expected)
    ]
    assert gradients[0][0] is None
    assert gradients[0][1].dtype == dtype
    error = TYPES[dtype]
    torch.testing.assert_close(gradients[0][1].double(), gradients[1][1].double(), rtol=error, atol=0)


def test_derivatives_for_alpha_gate_and_log_c():
    f, alpha = parameters(DOUBLE, 2, 5)
    gate, log_c = (torch.tensor(value, dtype=DOUBLE, requires_grad=True) for value in (0.4, -0.2))

    def of(alpha: Tensor, gate: Tensor, log_c: Tensor) -> Tensor:
        return rate(f, alpha, ZeroInflatedLogUniform(gate, log_c=log_c, validate_args=False))

    assert gradcheck(of, (alpha, gate, log_c))
    assert gradgradcheck(of, (alpha, gate, log_c))
    expected = rate_by_where(f, alpha, gate.log(), log_c)
    for ours, theirs in zip(
        torch.autograd.grad(of(alpha, gate, log_c).sum(), (alpha, gate, log_c)),
        torch.autograd.grad(expected.sum(), (alpha, gate, log_c)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("gate", [1.0, 0.3])
def test_a_prior_with_more_batch_dimensions_than_the_posterior(gate):
    f, alpha = parameters()
    p = MultiplicativeLogNormal(f, alpha)
    values = kl_divergence(p, ZeroInflatedLogUniform(gate).expand((3, B, WIDTH)))
    torch.testing.assert_close(values, kl_divergence(p, ZeroInflatedLogUniform(gate)).expand(3, B, WIDTH))


@pytest.mark.parametrize("given", [1.0, torch.ones(())], ids=["number", "tensor"])
def test_the_gate_takes_the_type_of_another_tensor(given):
    prior = ZeroInflatedLogUniform(given, like=torch.empty(3, dtype=DOUBLE))
    assert prior.gate.dtype == DOUBLE
    assert prior.gate.shape == ()
    assert prior.expand((4,)).has_free_atom is isinstance(given, float)


def test_a_gate_of_less_than_one_is_charged_by_every_layer():
    f = torch.zeros(2, 3)
    for layer, gate in (
        (InformationDropout.linear(4, 3, gate=0.25), 0.25),
        (GaussianDropout.linear(4, 3, gate=0.25), 0.25),
        (InformationDropout.linear(4, 3), 1.0),
        (GaussianDropout.linear(4, 3), 1.0),
        (ConstantDropout.linear(4, 3), 1.0),
    ):
        layer.features = nn.Identity()
        layer.activation, layer.event_dim = torch.zeros_like, 1
        if hasattr(layer, "noise"):
            layer.noise = nn.Identity()
        posterior = layer.posterior(f).to_event(1)
        values = kl_divergence(posterior, layer.prior_distribution(torch.Size([3])))
        torch.testing.assert_close(values, torch.full((2,), -3 * math.log(gate)))


def test_gaussian_noise_with_negative_activations():
    f, alpha = torch.tensor([-2.0, 0.0, 3.0]), torch.tensor([0.2, 0.4, 0.6])
    prior = ZeroInflatedLogUniform(0.3, two_sided=True)
    values = kl_divergence(MultiplicativeNormal(f, alpha), prior)
    expected = torch.where(f == 0, -math.log(0.3), gaussian_log_uniform_rate(alpha))
    torch.testing.assert_close(values, expected)


@pytest.mark.parametrize("unit_mean", [False, True])
@pytest.mark.parametrize("from_log", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_log_normal_prior(dtype, from_log, unit_mean):
    f, alpha = parameters(dtype)
    if from_log:
        p = MultiplicativeLogNormal.from_log_activation(f.detach().log(), alpha, unit_mean=unit_mean)
        f = f.detach().log().exp()
    else:
        p = MultiplicativeLogNormal(f, alpha, unit_mean=unit_mean)
    loc, scale = torch.tensor(0.3, dtype=dtype), torch.tensor(1.5, dtype=dtype)
    values = kl_divergence(p, dist.LogNormal(loc, scale))
    assert values.dtype == dtype
    wide_f, wide = f.double(), alpha.double()
    shift = -0.5 * wide.square() if unit_mean else 0.0
    off = wide_f == 0
    on = log_normal_log_normal_rate(
        wide_f.masked_fill(off, 1.0).log() + shift, wide, loc.double(), scale.double()
    )
    expected = torch.where(off, math.inf, on)
    error = TYPES[dtype]
    torch.testing.assert_close(values.double(), expected, rtol=2 * error, atol=2 * error)
    event = FactorizedLogNormal(loc.expand(WIDTH), scale.expand(WIDTH))
    torch.testing.assert_close(kl_divergence(p.to_event(1), event), values.sum(-1))
    (gradient,) = torch.autograd.grad(values[~off].sum(), alpha)
    assert (gradient[off] == 0).all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("unit_mean", [False, True])
@pytest.mark.parametrize("from_log", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_draws(dtype, from_log, unit_mean):
    """``f exp(alpha n + m)``, with its gradients, and zero on the atom alone."""
    f, alpha = parameters(dtype)
    build = MultiplicativeLogNormal.from_log_activation if from_log else MultiplicativeLogNormal
    given = f.detach().log().requires_grad_() if from_log else f
    torch.manual_seed(3)
    z = build(given, alpha, unit_mean=unit_mean).rsample()
    torch.manual_seed(3)
    noise, wide = torch.randn(f.shape, dtype=dtype).double(), alpha.double()
    log_eps = wide * noise - (0.5 * wide.square() if unit_mean else 0.0)
    wide_f = given.double().exp() if from_log else f.double()
    expected = wide_f * log_eps.exp()
    error = 4 * TYPES[dtype]
    assert z.dtype == dtype
    assert ((z == 0) == (f == 0)).all()
    torch.testing.assert_close(z.double(), expected, rtol=error, atol=error)
    ours, theirs = (torch.autograd.grad(v.sum(), (given, alpha)) for v in (z, expected))
    # float16 keeps a draw off the atom by a bound, behind which a unit that is off has no gradient.
    seen = f > 0 if dtype == torch.float16 else torch.ones_like(f, dtype=torch.bool)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.double()[seen], b.double()[seen], rtol=error, atol=error)


def step(logits: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    """A layer's part of a training step: its draw and rate, and their gradients."""
    prior = ZeroInflatedLogUniform(1.0, log_c=-0.9)
    f, alpha = h.relu(), 0.1 + 0.5 * torch.sigmoid(logits)
    p = MultiplicativeLogNormal(f, alpha, unit_mean=True, validate_args=False)
    z = p.rsample()
    nats = kl_divergence(p.to_event(1), prior.expand(f.shape[-1:]).to_event(1))
    return z, nats, *torch.autograd.grad(z.square().sum() + nats.sum(), (logits, h))


def test_a_captured_step_has_the_same_numbers():
    logits, h = torch.randn(B, WIDTH, requires_grad=True), torch.randn(B, WIDTH, requires_grad=True)
    graph = make_fx(step)(logits, h)
    names = {node.target for node in graph.graph.nodes if node.op == "call_function"}
    assert torch.ops.aten.where.self not in names
    torch.manual_seed(5)
    expected = step(logits, h)
    torch.manual_seed(5)
    torch.testing.assert_close(graph(logits, h), expected, rtol=0, atol=0)


def test_many_steps_at_once():
    logits, h = torch.randn(3, B, WIDTH, dtype=DOUBLE), torch.randn(3, B, WIDTH, dtype=DOUBLE)

    def loss(logits: Tensor, h: Tensor) -> Tensor:
        p = MultiplicativeLogNormal(h.relu(), 0.1 + 0.5 * torch.sigmoid(logits), validate_args=False)
        prior = ZeroInflatedLogUniform(1.0, log_c=-0.9).expand(h.shape[-1:])
        return kl_divergence(p.to_event(1), prior.to_event(1)).square().sum()

    gradient = torch.func.grad(loss, argnums=(0, 1))
    together = torch.func.vmap(gradient)(logits, h)
    one_by_one = zip(*[gradient(*pair) for pair in zip(logits, h, strict=True)], strict=True)
    torch.testing.assert_close(together, tuple(torch.stack(parts) for parts in one_by_one))
