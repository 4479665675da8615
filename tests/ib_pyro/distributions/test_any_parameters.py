"""Any parameters in range, in every type: densities, rates and slopes are those of float64, to the type's digits."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import LogNormal, Normal, kl_divergence

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.distributions import (
    FactorizedLogNormal,
    MultiplicativeBernoulli,
    MultiplicativeLogNormal,
    MultiplicativeNormal,
    ZeroInflatedLogUniform,
)
from ib_pyro.nn import AdditiveNormal, BinaryDropout, ConstantDropout, GaussianDropout, InformationDropout

TYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# The half types are computed in float32 and rounded once.
INNER = {torch.float64: 4e-15, torch.float32: 2e-6, torch.bfloat16: 2e-6, torch.float16: 2e-6}
# What every type holds with digits to spare: float16 reaches from 6e-5 to 65,504.
SIZES = st.floats(1e-3, 1e3)
# Up to the layers' largest noise, beyond which a rate under the improper prior is negative.
NOISES = st.floats(0.05, 0.69)
LOCS = st.floats(-5.0, 5.0)
SHARES = st.floats(0.05, 0.95)
SCORES = st.floats(-3.0, 3.0)


def one_sign(f: Tensor, alpha: Tensor) -> dict[str, tuple[Any, Any]]:
    """Each noise with a prior that covers it."""
    gate, zero, one = torch.full_like(f, 0.3), torch.zeros_like(f), torch.ones_like(f)
    return {
        "log-normal noise, log-uniform": (MultiplicativeLogNormal(f, alpha), ZeroInflatedLogUniform(gate)),
        "of unit mean, log-normal": (MultiplicativeLogNormal(f, alpha, unit_mean=True), LogNormal(zero, one)),
        "from log f, log-normal": (
            MultiplicativeLogNormal.from_log_activation(f.log(), alpha),
            LogNormal(zero, one),
        ),
        "noise, noise": (MultiplicativeLogNormal(f, alpha), MultiplicativeLogNormal(one, one)),
        "Gaussian, normal": (MultiplicativeNormal(-f, alpha), Normal(zero, one)),
        "Gaussian, log-uniform": (
            MultiplicativeNormal(f, alpha),
            ZeroInflatedLogUniform(gate, two_sided=True),
        ),
        "kingma, log-uniform": (
            MultiplicativeNormal(f, alpha, approximation="kingma"),
            ZeroInflatedLogUniform(gate, two_sided=True),
        ),
        "factorised, factorised": (FactorizedLogNormal(f.log(), alpha), FactorizedLogNormal(zero, one)),
        "factorised, log-normal": (
            FactorizedLogNormal(f.log(), alpha),
            torch.distributions.Independent(LogNormal(zero, one), 1),
        ),
    }


PAIRS = sorted(one_sign(torch.ones(1), torch.full((1,), 0.5)))


def rounded(dtype: torch.dtype, *values: float) -> tuple[Tensor, ...]:
    return tuple(torch.tensor([value], dtype=dtype) for value in values)


def close(
    found: Tensor, expected: Tensor, dtype: torch.dtype, terms: float = 1.0, *, roundings: float = 0.51
) -> None:
    """To the rounding of the answer in its type, and of what it was computed in, for terms of some size."""
    assert found.dtype == dtype
    error = (found.double() - expected).abs().max().item()
    size = expected.abs().max().item()
    if size < torch.finfo(dtype).max / 2:
        limits = torch.finfo(dtype)
        assert error <= roundings * limits.eps * size + INNER[dtype] * (terms + size) + limits.tiny


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(f=SIZES, alpha=NOISES)
def test_rates_and_their_slopes(name: str, kind: str, f: float, alpha: float) -> None:
    dtype = TYPES[kind]
    parameters = rounded(dtype, f, alpha)
    found = rate_and_slopes(name, parameters)
    expected = rate_and_slopes(name, tuple(value.double() for value in parameters))
    # log f is itself rounded to a half type where it is a parameter.
    if dtype in (torch.bfloat16, torch.float16) and ("log f" in name or "factorised" in name):
        parameters = (rounded(dtype, f)[0].log().double().exp(), parameters[1].double())
        expected = rate_and_slopes(name, parameters)
        found = found[:1]
    terms = 100.0 + 1 / f + (f**2 if name == "Gaussian, normal" else 0.0)
    # Two log-normal laws are PyTorch's own, which computes in the type itself.
    close(found[0], expected[0], dtype, terms, roundings=6.0 if name == "factorised, log-normal" else 0.51)
    # A slope is a sum of several, each of which is rounded to the parameter's type.
    for one, other in zip(found[1:], expected[1:], strict=False):
        cancelled = 10 * torch.finfo(dtype).eps / INNER[dtype]
        close(one, other, dtype, terms + cancelled, roundings=6.0)
    assert found[0].item() >= -1e-2


def rate_and_slopes(name: str, parameters: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    leaves = [value.clone().requires_grad_() for value in parameters]
    rate = kl_divergence(*one_sign(*leaves)[name])
    return rate, *torch.autograd.grad(rate.sum(), leaves, allow_unused=True, materialize_grads=True)


LAWS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "log-normal noise": MultiplicativeLogNormal,
    "Gaussian noise": MultiplicativeNormal,
    "log-normal": lambda f, alpha: FactorizedLogNormal(f.log(), alpha).expand([1]),
}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(f=SIZES, alpha=NOISES, score=SCORES)
def test_densities(name: str, kind: str, f: float, alpha: float, score: float) -> None:
    dtype = TYPES[kind]
    f_, alpha_ = rounded(dtype, f, alpha)
    if name == "log-normal" and dtype in (torch.bfloat16, torch.float16):
        f_ = f_.log().double().exp().to(torch.float64)
        laws = FactorizedLogNormal(f_.log().to(dtype), alpha_), FactorizedLogNormal(f_.log(), alpha_.double())
    else:
        laws = LAWS[name](f_, alpha_), LAWS[name](f_.double(), alpha_.double())
    eps = math.exp(alpha * score) if name != "Gaussian noise" else 1 + math.sqrt(alpha) * score
    (z,) = rounded(dtype, f * eps)
    # A value's rounding moves its score by as much as the noise is small.
    terms = 40.0 + 20 * abs(score) / alpha
    found, expected = (law.log_prob(value) for law, value in zip(laws, (z, z.double()), strict=True))
    close(found.reshape(-1), expected.reshape(-1), dtype, terms)
    for moment in ("mean", "stddev"):
        close(getattr(laws[0], moment), getattr(laws[1], moment), dtype)
    close(laws[0].entropy().reshape(-1), laws[1].entropy().reshape(-1), dtype, terms=20.0)


@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(gate=SHARES, low=st.floats(1e-3, 1.0), span=st.floats(1.5, 100.0), at=st.floats(0.01, 0.99))
def test_a_proper_prior_sums_to_one_and_finds_its_own_quantiles(
    kind: str, gate: float, low: float, span: float, at: float
) -> None:
    dtype = TYPES[kind]
    gate_, low_, high_ = rounded(dtype, gate, low, low * span)
    prior, exact = (
        ZeroInflatedLogUniform(*(v.to(d) for v in (gate_, low_, high_))) for d in (dtype, torch.float64)
    )
    (z,) = rounded(dtype, low * span**at)
    close(prior.log_prob(z), exact.log_prob(z.double()), dtype, terms=20.0)
    close(prior.cdf(z), exact.cdf(z.double()), dtype, terms=20.0)
    assert prior.cdf(high_).item() == 1
    assert prior.icdf(prior.cdf(z)).item() == pytest.approx(
        z.item(), rel=40 * torch.finfo(dtype).eps * math.log(span) / 0.05
    )


@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(f=SIZES, drop=st.floats(0.0, 0.9))
def test_dropout_keeps_its_mean_and_has_two_atoms(kind: str, f: float, drop: float) -> None:
    dtype = TYPES[kind]
    f_, drop_ = rounded(dtype, f, drop)
    law, exact = MultiplicativeBernoulli(f_, drop_), MultiplicativeBernoulli(f_.double(), drop_.double())
    on = law.sample((64,)).amax(0)
    if on > 0:
        close(law.log_prob(on), exact.log_prob(f_.double() / (1 - drop_.double())), dtype, terms=10.0)
    close(law.mean, exact.mean, dtype)
    assert law.log_prob(torch.zeros_like(f_)).item() == pytest.approx(
        math.log(drop_) if drop_ > 0 else -math.inf, rel=0.02
    )


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "information": lambda: InformationDropout.linear(3, 4),
    "information, softplus": lambda: InformationDropout.linear(
        3, 4, activation="softplus", prior="log-normal"
    ),
    "gaussian": lambda: GaussianDropout.linear(3, 4),
    "constant": lambda: ConstantDropout.linear(3, 4),
    "binary": lambda: BinaryDropout.linear(3, 4),
    "additive": lambda: AdditiveNormal.linear(3, 4),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), size=st.floats(0.01, 100.0))
def test_layers_have_finite_losses_and_slopes_in_their_type(
    name: str, kind: str, seed: int, size: float
) -> None:
    dtype = TYPES[kind]
    torch.manual_seed(seed)
    program = Bottleneck(LAYERS[name](), nn.Linear(4, 3)).to(dtype)
    # A softplus of far negative numbers is no scale that the type holds.
    size = min(size, 1.0) if name == "additive" else size
    x, y = (size * torch.randn(5, 3)).to(dtype), torch.arange(5) % 3
    terms = InformationBottleneckELBO(0.1).terms(program.model, program.guide, x, y)
    assert terms.loss.isfinite()
    terms.loss.backward()
    for parameter_name, parameter in program.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), parameter_name
    for rate in terms.rate.values():
        assert rate.isfinite().all()
        assert (rate >= -0.05 * (1 + rate.abs())).all()
    (value,) = program.latents(x).values()
    assert value.dtype == dtype
