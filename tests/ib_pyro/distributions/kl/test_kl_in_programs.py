"""The registered divergences inside of Pyro programs: found in a plate, used, and right in expectation."""

import math
from collections.abc import Callable
from typing import Any

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch.distributions import kl, kl_divergence

from ib_pyro.distributions import MultiplicativeLogNormal, ZeroInflatedLogUniform

BATCH = 4


def program(make: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        d = make()
        with pyro.plate("data", BATCH, dim=-1):
            pyro.sample("z", d.to_event(len(d.batch_shape)))

    return run


def test_the_registered_function_is_found_before_and_after_expanding(pair):
    p, q = pair.p(), pair.q()
    found = kl._KL_REGISTRY[pair.registered]
    assert kl._dispatch_kl(type(p), type(q)) is found
    wide_p, wide_q = p.expand((BATCH, *p.batch_shape)), q.expand((BATCH, *q.batch_shape))
    assert kl._dispatch_kl(type(wide_p), type(wide_q)) is found
    torch.testing.assert_close(
        kl_divergence(wide_p, wide_q), kl_divergence(p, q).expand(BATCH, *p.batch_shape)
    )


def test_a_plate_uses_the_registered_function(program_pair, monkeypatch):
    """Its calls are counted, and repeats do not vary: a silent Monte Carlo would fail both."""
    calls, original = [], kl._KL_REGISTRY[program_pair.registered]

    def counted(p: Any, q: Any) -> torch.Tensor:
        calls.append((p, q))
        return original(p, q)

    monkeypatch.setitem(kl._KL_REGISTRY, program_pair.registered, counted)
    monkeypatch.setattr(kl, "_KL_MEMOIZE", {})
    elbo, sides = TraceMeanField_ELBO(), (program(program_pair.q), program(program_pair.p))
    losses = [elbo.loss(*sides) for _ in range(3)]
    assert len(calls) == 3
    assert len(set(losses)) == 1
    rate = kl_divergence(*program_pair.units).sum().item()
    assert losses[0] == pytest.approx(BATCH * rate, rel=1e-12)


def test_a_sampled_rate_has_the_same_expectation(program_pair):
    elbo = Trace_ELBO(num_particles=500, vectorize_particles=True, max_plate_nesting=1)
    sides = program(program_pair.q), program(program_pair.p)
    losses = torch.tensor([elbo.loss(*sides) for _ in range(20)])
    exact = BATCH * kl_divergence(*program_pair.units).sum()
    error = 5 * losses.std() / math.sqrt(len(losses)) + 3 * BATCH * program_pair.tolerance
    assert (losses.mean() - exact).abs() < error


@pytest.mark.parametrize("batch", [(), (3,), (4, 3)])
def test_a_prior_that_was_expanded_charges_as_one_that_was_made_large(batch):
    """Also where the posterior is the smaller one, and broadcasts to the prior."""
    activation = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    alpha = torch.tensor([0.2, 0.5, 0.7], dtype=torch.float64)
    gate, log_c = torch.tensor(0.3, dtype=torch.float64), torch.tensor(-0.4, dtype=torch.float64)
    for posterior in (
        MultiplicativeLogNormal(activation, alpha),
        MultiplicativeLogNormal(activation[1], alpha[1]),
    ):
        expanded = ZeroInflatedLogUniform(gate, log_c=log_c).expand(batch)
        large = ZeroInflatedLogUniform(
            torch.full(batch, 0.3).double(), log_c=torch.full(batch, -0.4).double()
        )
        rate, expected = (kl_divergence(posterior, prior) for prior in (expanded, large))
        assert rate.shape == expected.shape
        torch.testing.assert_close(rate, expected, rtol=1e-6, atol=0)
