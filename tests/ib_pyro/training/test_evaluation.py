"""Evaluation gives the same numbers every time, each of them what its name says."""

from collections.abc import Callable
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from ib_pyro import Bottleneck
from ib_pyro.training import evaluate

Build = Callable[..., Bottleneck]


def test_same_numbers_every_time_and_no_draw_from_the_caller(stripes: SimpleNamespace, build: Build) -> None:
    program = build(dropout="binary")
    state = torch.get_rng_state()
    first = evaluate(program, stripes, train=stripes, batch_size=40)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert asdict(evaluate(program, stripes, train=stripes, batch_size=40)) == asdict(first)
    assert evaluate(program, stripes, seed=1).distortion != first.distortion


def test_network_without_noise_has_one_error(stripes: SimpleNamespace, build: Build) -> None:
    program = build(dropout="none", batch_norm=False).double()
    found = evaluate(program, stripes, train=stripes, batch_size=7)
    logits = program.decoder(program.encoder(stripes.x.double()))
    wrong = (logits.argmax(-1) != stripes.y).double().mean().item()
    assert found.error_noisy == found.error_predictive == found.error_deterministic == pytest.approx(wrong)
    assert found.distortion == pytest.approx(F.cross_entropy(logits, stripes.y).item(), rel=1e-12)
    assert found.distortion_deterministic == pytest.approx(found.distortion, rel=1e-12)
    assert found.rate == {}
    assert found.total_rate == 0


def test_rate_is_that_of_the_learned_noise(stripes: SimpleNamespace, build: Build) -> None:
    program = build().double().eval()
    layer, x = program.encoder.z1, stripes.x.double().flatten(1)
    nats = (0.7 / layer.alpha(x)).log() * (layer.features(x) > 0)
    found = evaluate(program, stripes, batch_size=13)
    assert found.rate["z1"] == pytest.approx(nats.sum(1).mean().item(), rel=1e-12)
    assert found.total_rate == pytest.approx(sum(found.rate.values()))


def test_deterministic_numbers_are_those_of_the_noise_free_network(
    stripes: SimpleNamespace, build: Build
) -> None:
    program = build(dropout="constant", alpha=2.0).double().train()
    x = stripes.x.double()
    found = evaluate(program, stripes, train=stripes, batch_size=len(x))
    # Statistics come from a pass in training mode, the numbers from one in evaluation mode with them.
    seen = h = x.flatten(1)
    for layer in (program.encoder.z1, program.encoder.z2, program.encoder.z3):
        linear, norm = layer.features
        a, b = linear(seen).detach(), linear(h)
        h = F.relu(F.batch_norm(b, a.mean(0), a.var(0), norm.weight, norm.bias))
        seen = F.relu(F.batch_norm(a, None, None, norm.weight, norm.bias, training=True))
    logits = program.decoder(h)
    assert found.distortion_deterministic == pytest.approx(
        F.cross_entropy(logits, stripes.y).item(), rel=1e-9
    )
    wrong = (logits.argmax(-1) != stripes.y).double().mean().item()
    assert found.error_deterministic == pytest.approx(wrong)
    assert found.distortion != pytest.approx(found.distortion_deterministic, rel=1e-3)


def test_error_is_left_out_where_y_is_no_label(build: Build) -> None:
    from torch import nn

    from ib_pyro.nn import InformationDropout

    program = Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2), likelihood="normal")
    data = SimpleNamespace(x=torch.rand(6, 4), y=torch.rand(6, 2))
    found = evaluate(program, data)
    assert found.error_noisy is found.error_deterministic is None
    assert found.distortion > 0
