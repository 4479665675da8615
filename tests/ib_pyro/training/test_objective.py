"""The loss is the mean Lagrangian, and the sums that come with it are its parts."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.nn import functional as F

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.training.objective import Objective

Build = Callable[..., Bottleneck]


def evaluate(
    program: Bottleneck, data: SimpleNamespace, beta: float
) -> tuple[torch.Tensor, dict[str, float]]:
    objective = Objective(program, InformationBottleneckELBO(beta=beta))
    loss = objective(data.x.double(), data.y)
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


def softmax(logits: torch.Tensor) -> dist.Categorical:
    return dist.Categorical(logits=logits)


@pytest.mark.parametrize(
    "likelihood", [softmax, lambda logits: softmax(logits).mask(True)], ids=["plain", "masked"]
)
def test_error_is_read_off_a_categorical_law_however_it_is_given(
    stripes: SimpleNamespace, build: Build, likelihood: Callable[[torch.Tensor], object]
) -> None:
    program, named = build(dropout="none").double(), build(dropout="none").double()
    program.likelihood = likelihood
    _, means = evaluate(program, stripes, 1.0)
    assert means == pytest.approx(evaluate(named, stripes, 1.0)[1])
    assert "error" in means


def test_error_is_that_of_any_program_of_labels(stripes: SimpleNamespace) -> None:
    x = stripes.x.double().flatten(1)
    head = torch.nn.Linear(x.shape[1], 10).double()

    class Program(torch.nn.Module):
        def model(self, x: torch.Tensor, y: torch.Tensor) -> None:
            with pyro.plate("rows", len(x)):
                pyro.sample("label", dist.Categorical(logits=head(x)), obs=y)

        def guide(self, x: torch.Tensor, y: torch.Tensor) -> None:
            pass

    objective = Objective(Program(), InformationBottleneckELBO())
    objective(x, stripes.y)
    expected = (head(x).argmax(-1) != stripes.y).double().mean().item()
    assert objective.means.compute()["error"] == pytest.approx(expected)


@pytest.mark.parametrize("likelihood", ["normal", "bernoulli"])
def test_there_is_no_error_where_there_are_no_classes(likelihood: str) -> None:
    program = Bottleneck(torch.nn.Identity(), torch.nn.Linear(3, 3), likelihood).double()
    x = torch.rand(5, 3).double()
    _, means = evaluate(program, SimpleNamespace(x=x, y=x.round()), 1.0)
    assert "error" not in means


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
    assert objective.means.compute() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("vectorised", [False, True])
def test_error_with_several_particles_is_that_of_one(
    stripes: SimpleNamespace, build: Build, vectorised: bool
) -> None:
    program = build(dropout="binary", batch_norm=False).double()
    elbo = InformationBottleneckELBO(num_particles=3, vectorize_particles=vectorised, max_plate_nesting=1)
    objective = Objective(program, elbo)
    objective(stripes.x.double(), stripes.y)
    wrong = objective.means.compute()["error"] * 90
    assert 0 < wrong <= 90
    assert wrong == pytest.approx(round(wrong))
