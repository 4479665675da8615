"""The loss is the mean Lagrangian, and the sums that come with it are its parts."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import pyro
import pytest
import torch
from torch.nn import functional as F

from ib_pyro import Bottleneck, InformationBottleneckELBO
from inference.fit.objective import Objective

Build = Callable[..., Bottleneck]


def evaluate(
    program: Bottleneck, data: SimpleNamespace, beta: float
) -> tuple[torch.Tensor, dict[str, float]]:
    objective = Objective(program, InformationBottleneckELBO(beta=beta))
    loss = objective(data.x.double(), data.y)
    objective.release()
    return loss, objective.means.compute()


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_loss_is_distortion_plus_beta_rate(stripes: SimpleNamespace, build: Build, beta: float) -> None:
    loss, means = evaluate(build().double(), stripes, beta)
    assert means["rate"] == pytest.approx(sum(means[f"rate/z{layer}"] for layer in (1, 2, 3)))
    assert means["rate"] > 1
    assert loss.item() == pytest.approx(means["distortion"] + beta * means["rate"], rel=1e-12)
    assert means["loss"] == pytest.approx(loss.item(), rel=1e-12)


def test_without_noise_it_is_cross_entropy(stripes: SimpleNamespace, build: Build) -> None:
    program = build(dropout="none").double()
    loss, means = evaluate(program, stripes, 1.0)
    logits = program.decoder(program.encoder(stripes.x.double()))
    torch.testing.assert_close(loss, F.cross_entropy(logits, stripes.y))
    assert means["rate"] == 0
    assert means["error"] == pytest.approx((logits.argmax(-1) != stripes.y).double().mean().item())


def test_error_is_that_of_the_same_noisy_pass(stripes: SimpleNamespace, build: Build) -> None:
    program = build(dropout="binary").double()
    torch.manual_seed(5)
    _, means = evaluate(program, stripes, 1.0)
    torch.manual_seed(5)
    logits = program.decoder(program.encoder(stripes.x.double()))
    assert means["error"] == pytest.approx((logits.argmax(-1) != stripes.y).double().mean().item())


def test_batch_that_stands_for_a_larger_set_has_the_same_mean(stripes: SimpleNamespace, build: Build) -> None:
    plain, scaled = build().double(), build().double()
    scaled.num_data = 9000
    torch.manual_seed(5)
    loss, _ = evaluate(plain, stripes, 0.3)
    torch.manual_seed(5)
    scaled_loss, means = evaluate(scaled, stripes, 0.3)
    torch.testing.assert_close(loss, scaled_loss)
    assert means["loss"] == pytest.approx(loss.item())


def test_site_that_is_not_finite_is_named(stripes: SimpleNamespace, build: Build) -> None:
    program = build().double()
    program.encoder.z3.noise.bias.data[0] = math.nan
    with (
        pyro.validation_enabled(False),
        pytest.raises(FloatingPointError, match=r"site 'z3': not finite.*rate/z3 = nan"),
    ):
        evaluate(program, stripes, 1.0)


def test_hook_is_taken_off(stripes: SimpleNamespace, build: Build) -> None:
    program = build().double()
    evaluate(program, stripes, 1.0)
    assert not program.decoder._forward_hooks


@pytest.mark.parametrize("batch_size", [1, 4, 7, 90])
def test_means_over_batches_of_any_size_are_those_over_the_samples(
    stripes: SimpleNamespace, build: Build, batch_size: int
) -> None:
    program = build(dropout="none", batch_norm=False).double()
    _, expected = evaluate(program, stripes, 0.3)
    objective = Objective(program, InformationBottleneckELBO(beta=0.3))
    x, y = stripes.x.double(), stripes.y
    objective(x, y)
    objective.means.reset()
    for index in torch.arange(len(x)).split(batch_size):
        objective(x[index], y[index])
        objective.means.compute()
    objective.release()
    assert objective.means.compute() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("vectorised", [False, True])
def test_error_with_several_particles_is_that_of_one(
    stripes: SimpleNamespace, build: Build, vectorised: bool
) -> None:
    program = build(dropout="binary", batch_norm=False).double()
    elbo = InformationBottleneckELBO(num_particles=3, vectorize_particles=vectorised, max_plate_nesting=1)
    objective = Objective(program, elbo)
    objective(stripes.x.double(), stripes.y)
    objective.release()
    wrong = objective.means.compute()["error"] * 90
    assert 0 < wrong <= 90
    assert wrong == pytest.approx(round(wrong))
