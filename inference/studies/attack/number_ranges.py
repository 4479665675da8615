"""Rates, their slopes and densities at the ends of ranges, in every type, beside the formulas in twice the digits."""

from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor
from torch.distributions import LogNormal, Normal, kl_divergence

from ib_pyro.distributions import MultiplicativeLogNormal, MultiplicativeNormal, ZeroInflatedLogUniform
from inference.studies.attack.attempts import Kind, Silent

__all__ = ["NUMBER_RANGES"]

ALPHA_MAX = 0.7
# Checks at a time.
COUNT = 256
TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
# Rounding of the answer, in units of its type, and of what it is computed in where that is float32.
ROUNDINGS = 4.0


def drawn(generator: torch.Generator, low: float, high: float, dtype: torch.dtype) -> Tensor:
    """Values whose logarithms are uniform, as the type has them."""
    share = torch.rand(COUNT, generator=generator, dtype=torch.float64)
    return torch.exp(math.log(low) + share * (math.log(high) - math.log(low))).to(dtype)


def prepare(folder: Path) -> Path:
    """There is nothing to prepare."""
    return folder


def attempt(generator: random.Random, _prepared: Path, _folder: Path) -> Counter[str]:
    """Compare rates and a density for parameters drawn over many orders of magnitude."""
    draw = torch.Generator().manual_seed(generator.randrange(2**31))
    dtype = generator.choice(TYPES)
    largest = 1e4 if dtype == torch.float16 else 1e30
    f, alpha = drawn(draw, 1 / largest, largest, dtype), drawn(draw, 1e-3, ALPHA_MAX, dtype)
    loc, scale = drawn(draw, 1e-2, 5.0, dtype), drawn(draw, 0.05, 3.0, dtype)
    off = torch.rand(COUNT, generator=draw) < 0.1
    f = torch.where(off, torch.zeros_like(f), f)
    posterior = MultiplicativeLogNormal(f, alpha)
    _uniform(posterior, f.double(), alpha.double(), dtype)
    on = ~off
    positive = MultiplicativeLogNormal(f[on], alpha[on])
    _log_normal(positive, (f[on], alpha[on], loc[on], scale[on]), dtype)
    _density(positive, f[on], alpha[on], draw, dtype)
    sign = torch.where(torch.rand(COUNT, generator=draw) < 0.5, -1.0, 1.0).to(dtype)
    signed = (sign * f)[on]
    gaussian = MultiplicativeNormal(signed, alpha[on])
    _gaussian(gaussian, (signed, alpha[on], loc[on], scale[on]), dtype)
    _gaussian_density(gaussian, signed, alpha[on], draw, dtype)
    _slopes((f[on], alpha[on], loc[on], scale[on]), dtype)
    return Counter({"checks": COUNT + 6 * int(on.sum()), str(dtype).removeprefix("torch."): 1})


def _uniform(posterior: MultiplicativeLogNormal, f: Tensor, alpha: Tensor, dtype: torch.dtype) -> None:
    gate = torch.tensor(0.5, dtype=dtype)
    log_c = -math.log(ALPHA_MAX) - 0.5 * math.log(2 * math.pi * math.e)
    prior = ZeroInflatedLogUniform(gate, log_c=torch.tensor(log_c, dtype=dtype))
    c = prior.log_c.double()
    on = -alpha.log() - c - 0.5 * math.log(2 * math.pi * math.e)
    expected = torch.where(f > 0, on, torch.full_like(on, math.log(2.0)))
    terms = alpha.log().abs() + c.abs() + 1.5
    _compare("rate under the log-uniform prior", kl_divergence(posterior, prior), expected, terms, dtype)


def _log_normal(
    posterior: MultiplicativeLogNormal, parameters: tuple[Tensor, ...], dtype: torch.dtype
) -> None:
    prior = LogNormal(*parameters[2:])
    f, alpha, loc, scale = (value.double() for value in parameters)
    moved = f.log() - loc
    expected = (alpha**2 + moved**2) / (2 * scale**2) - (alpha / scale).log() - 0.5
    slope = (f.log().abs() + loc.abs()) * moved.abs() / scale**2
    terms = expected.abs() + slope + (alpha**2 + moved**2) / scale**2 + 1.0
    _compare("rate under a log-normal prior", kl_divergence(posterior, prior), expected, terms, dtype)


def _density(
    posterior: MultiplicativeLogNormal, f: Tensor, alpha: Tensor, draw: torch.Generator, dtype: torch.dtype
) -> None:
    eps = torch.exp(alpha.double() * torch.randn(len(f), generator=draw, dtype=torch.float64))
    z = (f.double() * eps).to(dtype)
    inside = (z > 0) & z.isfinite()
    z = torch.where(inside, z, f)
    shift = z.double().log() - f.double().log()
    expected = -z.double().log() - alpha.double().log() - 0.5 * math.log(2 * math.pi)
    expected = expected - shift**2 / (2 * alpha.double() ** 2)
    lost = (z.double().log().abs() + f.double().log().abs() + 1) * shift.abs() / alpha.double() ** 2
    terms = expected.abs() + lost + z.double().log().abs() + shift**2 / alpha.double() ** 2 + 2
    _compare("density of log-normal noise", posterior.log_prob(z), expected, terms, dtype)


def _gaussian(posterior: MultiplicativeNormal, parameters: tuple[Tensor, ...], dtype: torch.dtype) -> None:
    prior = Normal(*parameters[2:])
    f, alpha, loc, scale = (value.double() for value in parameters)
    size, distance = f.abs() * alpha.sqrt() / scale, (f - loc) / scale
    logs = f.abs().log().abs() + alpha.log().abs() + scale.log().abs()
    expected = 0.5 * (size**2 + distance**2 - 1) - size.log()
    terms = size**2 + distance**2 + distance.abs() * (f.abs() + loc.abs()) / scale + logs + 1
    _compare(
        "rate of Gaussian noise under a normal prior", kl_divergence(posterior, prior), expected, terms, dtype
    )


def _gaussian_density(
    posterior: MultiplicativeNormal, f: Tensor, alpha: Tensor, draw: torch.Generator, dtype: torch.dtype
) -> None:
    eps = 1 + alpha.double().sqrt() * torch.randn(len(f), generator=draw, dtype=torch.float64)
    z = (f.double() * eps).to(dtype)
    z = torch.where(z.isfinite(), z, f)
    score = (z.double() / f.double() - 1) / alpha.double().sqrt()
    expected = -0.5 * (score**2 + (2 * math.pi * alpha.double()).log()) - f.double().abs().log()
    lost = score.abs() * ((z.double() / f.double()).abs() + 1) / alpha.double().sqrt()
    terms = score**2 + lost + alpha.double().log().abs() + f.double().abs().log().abs() + 2
    _compare("density of Gaussian noise", posterior.log_prob(z), expected, terms, dtype)


def _slopes(parameters: tuple[Tensor, ...], dtype: torch.dtype) -> None:
    """Derivatives of both noises' rates by the activation."""
    leaf, others = parameters[0].clone().requires_grad_(), parameters[1:]
    f, alpha, loc, scale = (value.double() for value in parameters)
    laws = (MultiplicativeLogNormal, LogNormal), (MultiplicativeNormal, Normal)
    expected = (f.log() - loc) / scale**2 / f, alpha * f / scale**2 + (f - loc) / scale**2 - 1 / f
    logs = (f.log().abs() + loc.abs()) / scale**2 / f
    terms = logs, alpha * f / scale**2 + (f + loc) / scale**2 + 1 / f
    for (noise, prior), right, size in zip(laws, expected, terms, strict=True):
        rate = kl_divergence(noise(leaf, others[0]), prior(*others[1:]))
        (slope,) = torch.autograd.grad(rate[rate.isfinite()].sum(), leaf)
        held = rate.isfinite()
        what = f"slope of the rate of {noise.__name__}"
        _compare(what, slope[held], right[held], size[held], dtype)


def _compare(what: str, found: Tensor, expected: Tensor, terms: Tensor, dtype: torch.dtype) -> None:
    """Raise unless all are as near as the sizes of the terms and the type allow."""
    # The half types are computed in float32, and rounded once.
    inner = torch.finfo(dtype if dtype == torch.float64 else torch.float32).eps
    bound = torch.finfo(dtype).eps * expected.abs() + ROUNDINGS * inner * terms + torch.finfo(dtype).tiny
    fits = expected.abs() < torch.finfo(dtype).max / 2
    wrong = fits & ~((found.double() - expected).abs() <= bound)
    if wrong.any():
        first = int(wrong.nonzero()[0])
        raise Silent(
            f"{what} in {dtype}: {found[first].item()} for {expected[first].item()} "
            f"({int(wrong.sum())} of {wrong.numel()}, allowed {bound[first].item():.2g})"
        )


NUMBER_RANGES = Kind(
    "number-ranges",
    "rates, slopes and densities over the ranges of every type: as near to the formulas as the type allows",
    prepare,
    attempt,
)
