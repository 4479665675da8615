"""Evaluation gives the same numbers every time, each of them what its name says."""

from collections.abc import Callable
from dataclasses import asdict, replace
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import kl_divergence
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from ib_pyro import Bottleneck, InformationBottleneckELBO, evaluate, fit
from ib_pyro.batch_norm import noise_off_copy
from ib_pyro.training.randomness import seeded

Build = Callable[..., Bottleneck]


def test_same_numbers_every_time_and_no_draw_from_the_caller(stripes: SimpleNamespace, build: Build) -> None:
    program = build(dropout="binary")
    state = torch.get_rng_state()
    first = evaluate(program, stripes, train=stripes, batch_size=40)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert asdict(evaluate(program, stripes, train=stripes, batch_size=40)) == asdict(first)
    assert evaluate(program, stripes, seed=1).distortion != first.distortion


def test_what_is_printed_fits_a_line(stripes: SimpleNamespace, build: Build) -> None:
    program = build()
    found = fit(program, stripes, epochs=2, beta=0.01, progress=False)
    last = found.rows[-1]
    words = f"loss {last['loss']:.4g}, distortion {last['distortion']:.4g}, rate {last['rate']:.4g}"
    told = f"FitResult(2 epochs, {words}, train error {last['train_error']:.1%}; all 2 epochs are done)"
    assert repr(found) == told
    tested = evaluate(program, stripes, train=stripes)
    errors = f"1 draw {tested.error_noisy:.1%}, predictive {tested.error_predictive:.1%}, noise off "
    words = f"distortion {tested.distortion:.4g}, rate {tested.total_rate:.4g} nats"
    start = f"Evaluation({len(stripes.x)} samples: {words}"
    assert repr(tested) == f"{start}; error {errors}{tested.error_deterministic:.1%})"
    assert (
        repr(replace(tested, error_noisy=None, error_predictive=None, error_deterministic=None))
        == f"{start})"
    )


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
    from ib_pyro.nn import InformationDropout

    program = Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2), likelihood="normal")
    data = SimpleNamespace(x=torch.rand(6, 4), y=torch.rand(6, 2))
    found = evaluate(program, data)
    assert found.error_noisy is found.error_deterministic is None
    assert found.distortion > 0


def test_the_predictive_density_is_the_mean_over_draws(stripes: SimpleNamespace, build: Build) -> None:
    program = build(dropout="constant", alpha=1.0, batch_norm=False).double().eval()
    found = evaluate(program, stripes, num_samples=4000, batch_size=90)
    x = stripes.x.double()
    mean = program.predict(x, num_samples=4000)
    expected = -mean[torch.arange(90), stripes.y].log().mean().item()
    assert found.distortion_predictive == pytest.approx(expected, rel=0.01)
    # Jensen: the log density of the mean is at least the mean of the log densities.
    elbo = InformationBottleneckELBO()
    with torch.no_grad():
        draws = [elbo.terms(program.model, program.guide, x, stripes.y).distortion for _ in range(300)]
    assert found.distortion_predictive < torch.stack(draws).mean().item()


def test_every_number_has_an_interval_that_is_named(stripes: SimpleNamespace, build: Build) -> None:
    found = evaluate(build(batch_norm=False), stripes, num_samples=3)
    table = found.table
    assert list(table.columns) == ["estimate", "low", "high", "method"]
    errors = ["error_noisy", "error_predictive", "error_deterministic"]
    assert set(table.index) == {
        *errors,
        "distortion",
        "distortion_predictive",
        "distortion_deterministic",
        "rate",
        *(f"rate/z{number}" for number in (1, 2, 3)),
    }
    assert (table["low"] <= table["estimate"]).all()
    assert (table["estimate"] <= table["high"]).all()
    assert set(table.loc[errors, "method"]) == {"wilson"}
    assert set(table.drop(errors)["method"]) == {"normal"}
    assert table.loc["error_noisy", "estimate"] == found.error_noisy
    assert table.loc["rate", "estimate"] == pytest.approx(found.total_rate, rel=1e-9)
    wide = evaluate(build(batch_norm=False), stripes, num_samples=3, confidence=0.99).table
    assert (wide["high"] - wide["low"] > table["high"] - table["low"]).all()


def test_the_interval_of_the_total_rate_is_of_the_samples_sums(
    stripes: SimpleNamespace, build: Build
) -> None:
    program = build(batch_norm=False).double().eval()
    found = evaluate(program, stripes, num_samples=1, batch_size=17).intervals["rate"]
    with seeded(0):
        rates = []
        for part, y in zip(stripes.x.double().split(17), stripes.y.split(17), strict=True):
            elbo = InformationBottleneckELBO()
            rates.append(sum(elbo.terms(program.model, program.guide, part, y).rate.values()))
    values = torch.cat(rates).detach()
    half = 1.959963984540054 * values.std() / len(values) ** 0.5
    assert found.high - found.estimate == pytest.approx(half.item(), rel=1e-9)


def test_statistics_learned_under_noise_are_warned_of(stripes: SimpleNamespace, build: Build) -> None:
    program = build(dropout="constant", alpha=1.0)
    evaluate(program, stripes)  # they are from no noise yet
    fit(program, stripes, epochs=2, beta=0.0, progress=False)
    with pytest.warns(UserWarning, match="deterministic numbers use batch norm's.*pass train="):
        without = evaluate(program, stripes)
    before = {name: value.clone() for name, value in program.state_dict().items()}
    found = evaluate(program, stripes, train=stripes)
    assert found.distortion_deterministic != without.distortion_deterministic
    assert all(torch.equal(value, before[name]) for name, value in program.state_dict().items())
    quiet = noise_off_copy(program, stripes.x, batch_size=1000)
    assert evaluate(quiet, stripes).distortion_deterministic == found.distortion_deterministic


def test_a_prediction_without_noise_warns_of_them_too(stripes: SimpleNamespace, build: Build) -> None:
    program = build(dropout="constant", alpha=1.0)
    fit(program, stripes, epochs=2, beta=0.0, progress=False)
    with pytest.warns(UserWarning, match="num_samples=0 .*noise_off_copy.*ib_pyro.evaluate"):
        program.predict(stripes.x, num_samples=0)
    quiet = noise_off_copy(program, stripes.x, batch_size=100)
    quiet.predict(stripes.x, num_samples=0)
    fit(quiet, stripes, epochs=1, beta=0.0, progress=False)
    with pytest.warns(UserWarning, match="num_samples=0"):
        quiet.predict(stripes.x, num_samples=0)
    plain = build(dropout="none")
    fit(plain, stripes, epochs=1, beta=0.0, progress=False)
    plain.predict(stripes.x, num_samples=0)


def test_a_pair_with_noise_that_cannot_be_off_has_no_deterministic_numbers(stripes: SimpleNamespace) -> None:
    encode, decode = nn.Linear(16, 2), nn.Linear(2, 3)

    def model(x: torch.Tensor, y: torch.Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("class", dist.Categorical(logits=decode(z)), obs=y)

    def guide(x: torch.Tensor, y: torch.Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(encode(x.flatten(1)), 0.5).to_event(1))

    found = evaluate((model, guide), stripes, num_samples=200)
    assert found.error_deterministic is None
    assert found.distortion_deterministic is None
    assert "distortion_deterministic" not in found.table.index
    assert found.error_predictive is not None
    with torch.no_grad():
        loc = encode(stripes.x.flatten(1))
        rate = kl_divergence(dist.Normal(loc, 0.5), dist.Normal(0.0, 1.0)).sum(-1).mean().item()
    assert found.rate["z"] == pytest.approx(rate, rel=1e-5)


def test_batch_norm_of_a_pair_is_estimated_again_and_put_back(stripes: SimpleNamespace, build: Build) -> None:
    program = build(dropout="constant", alpha=1.0)
    fit(program, stripes, epochs=2, beta=0.0, progress=False)
    before = {name: value.clone() for name, value in program.state_dict().items()}
    pair = (program.model, program.guide)
    expected = evaluate(program, stripes, train=stripes)
    assert asdict(evaluate(pair, stripes, train=(stripes.x, stripes.y))) == asdict(expected)
    assert all(torch.equal(value, before[name]) for name, value in program.state_dict().items())


@pytest.mark.parametrize("kind", ["loader", "list", "mapping"])
def test_all_kinds_of_data_give_the_same_numbers(stripes: SimpleNamespace, build: Build, kind: str) -> None:
    program = build(batch_norm=False)
    data = {
        "loader": lambda: DataLoader(
            TensorDataset(stripes.x, stripes.y), batch_size=20, generator=torch.Generator()
        ),
        "list": lambda: list(zip(stripes.x.split(20), stripes.y.split(20), strict=True)),
        "mapping": lambda: {"x": stripes.x.numpy(), "y": stripes.y},
    }[kind]()
    size = {} if kind != "mapping" else {"batch_size": 20}
    expected = evaluate(program, stripes, batch_size=20, num_samples=2)
    assert asdict(evaluate(program, data, num_samples=2, **size)) == asdict(expected)


def test_what_is_out_of_range_is_refused(stripes: SimpleNamespace, build: Build) -> None:
    with pytest.raises(ValueError, match="num_samples must be at least 1; got 0"):
        evaluate(build(), stripes, num_samples=0)
    with pytest.raises(ValueError, match=r"confidence must be within \(0, 1\); got 95"):
        evaluate(build(), stripes, confidence=95)
    with pytest.raises(TypeError, match="program: a Linear has no model and guide"):
        evaluate(nn.Linear(2, 2), stripes)


def test_a_program_that_looks_at_a_random_part_of_a_batch_is_refused():
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.tensor(0.5))

        def model(self, x):
            with pyro.plate("data", 6, subsample_size=3) as i:
                z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
                pyro.sample("x", dist.Normal(z, 1.0), obs=x[i])

        def guide(self, x):
            with pyro.plate("data", 6, subsample_size=3) as i:
                pyro.sample("z", dist.Normal(self.slope * x[i], 0.7))

    with pytest.raises(ValueError, match="a batch has 6 samples, and a plate.*leave subsample_size= out"):
        evaluate(Part(), torch.arange(6.0))


class Regression(nn.Module):
    """Observations in a plate of another size than the batch."""

    def __init__(self, **plate):
        super().__init__()
        self.shift, self.plate = nn.Parameter(torch.tensor(0.5)), plate

    def model(self, x):
        with pyro.plate("data", **self.plate_of(x)) as i:
            pyro.sample("x", dist.Normal(self.shift, 1.0), obs=x[i % len(x)])

    def guide(self, x):
        pass

    def plate_of(self, x):
        return (
            {"subsample": torch.arange(len(x))} | self.plate
            if "subsample_size" not in self.plate
            else self.plate
        )


@pytest.mark.parametrize("size", [60, 1000])
def test_a_set_may_be_larger_than_the_one_of_the_fit(size):
    x = torch.randn(100)
    whole, parts = (evaluate(Regression(size=size), x, batch_size=batch_size) for batch_size in (100, 20))
    assert whole.distortion == pytest.approx(parts.distortion)
    assert whole.distortion == pytest.approx(-dist.Normal(0.5, 1.0).log_prob(x).mean().item())


@pytest.mark.parametrize("size", [1000, 30])
def test_a_plate_that_takes_some_of_a_batch_is_refused(size):
    with pytest.raises(ValueError, match=f"of size {size}, takes 10 of them"):
        evaluate(Regression(size=size, subsample_size=10), torch.randn(30))
