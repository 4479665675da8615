"""Weights move as their schedules say, and rows and results tell what came of it."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.elbo import CapacityELBO, FreeBitsELBO
from ib_pyro.elbo.schedules import SCHEDULES, linear_warm_up
from ib_pyro.training import FitResult, fit
from ib_pyro.training.lagrangian import lagrangian
from ib_pyro.training.optimizers import build_optimizer
from inference import RunSpec
from inference.cli import main
from inference.runs.folder import RunFolder
from inference.runs.objective_spec import BETA_SCHEDULES, ObjectiveSpec

Build = Callable[..., Bottleneck]
Quick = Callable[..., Any]
SITES = ("z1", "z2", "z3")


def fit_in_whole_batches(
    program: Bottleneck, data: SimpleNamespace, elbo: InformationBottleneckELBO, **options: Any
) -> FitResult:
    """An epoch is a step, so that its row holds the numbers of a single evaluation."""
    torch.manual_seed(2)
    optimiser = build_optimizer("sgd", program.parameters(), lr=0.02)
    settings = {"epochs": 5, "batch_size": 90, "progress": False, "order": torch.Generator().manual_seed(7)}
    return fit(program, data, elbo=elbo, optimizer=optimiser, **{**settings, **options})


def test_each_step_is_weighted_by_its_own_beta(stripes: SimpleNamespace, build: Build) -> None:
    target, schedule = 0.4, partial(linear_warm_up, target=0.4, warm_up=3)
    elbo = InformationBottleneckELBO(beta=target)
    history = fit_in_whole_batches(build(), stripes, elbo, schedules={"beta": schedule}).rows
    assert [row["beta"] for row in history] == pytest.approx([0.0, 0.4 / 3, 0.8 / 3, 0.4, 0.4])
    for row in history:
        assert row["loss"] == pytest.approx(row["distortion"] + row["beta"] * row["rate"], rel=1e-5)
        assert row["lagrangian"] == pytest.approx(row["distortion"] + target * row["rate"], rel=1e-5)
    assert history[0]["loss"] < 0.9 * history[0]["lagrangian"]
    assert elbo.beta == target


def test_steps_within_an_epoch_count_as_fractions_of_it(stripes: SimpleNamespace, build: Build) -> None:
    seen = []

    def schedule(epoch: float) -> float:
        seen.append(epoch)
        return 0.1

    elbo = InformationBottleneckELBO(beta=0.1)
    fit_in_whole_batches(build(), stripes, elbo, schedules={"beta": schedule}, epochs=2, batch_size=30)
    # Before the fit it is asked where it ends.
    assert seen == pytest.approx([5 / 3, 0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3])


def test_without_schedules_nothing_is_added_to_a_row(stripes: SimpleNamespace, build: Build) -> None:
    row = fit_in_whole_batches(build(), stripes, InformationBottleneckELBO(beta=0.1), epochs=1).rows[0]
    assert "lagrangian" not in row
    assert not [name for name in row if name.startswith("total_correlation")]


def test_objective_has_its_target_again_after_an_interruption(stripes: SimpleNamespace, build: Build) -> None:
    def stop(history: list[dict[str, Any]]) -> None:
        raise KeyboardInterrupt

    elbo = InformationBottleneckELBO(beta=0.4)
    schedules = {"beta": partial(linear_warm_up, target=0.4, warm_up=3)}
    with pytest.raises(KeyboardInterrupt):
        fit_in_whole_batches(build(), stripes, elbo, schedules=schedules, on_epoch=stop)
    assert elbo.beta == 0.4


def test_total_correlation_is_a_column_and_part_of_the_lagrangian(
    stripes: SimpleNamespace, build: Build
) -> None:
    elbo = InformationBottleneckELBO(beta=0.1, gamma={"z2": 0.7})
    schedules = {"beta": partial(linear_warm_up, target=0.1, warm_up=9)}
    with pytest.warns(
        UserWarning, match="beta is 0.04.* at the last step of 5 epochs, and its target is 0.1"
    ):
        found = fit_in_whole_batches(build(), stripes, elbo, schedules=schedules)
    for row in found.rows:
        assert [name for name in row if name.startswith("total_correlation")] == ["total_correlation/z2"]
        correlation = 0.7 * row["total_correlation/z2"]
        assert row["loss"] == pytest.approx(
            row["distortion"] + row["beta"] * row["rate"] + correlation, rel=1e-5
        )
        assert row["lagrangian"] == pytest.approx(
            row["distortion"] + 0.1 * row["rate"] + correlation, rel=1e-5
        )


def test_resumed_under_a_schedule_equals_uninterrupted(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"beta_schedule": "cosine", "beta_warm_up": 2.5, "capacity": 4.0, "capacity_warm_up": 2.0}
    whole = quick(out=tmp_path / "whole", **options).run()
    job = quick(out=tmp_path / "broken", **options)
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_metrics", stop_after_two)
        with pytest.raises(KeyboardInterrupt):
            job.run()
    resumed = job.run(resume=True)
    assert {**resumed, "seconds": 0} == {**whole, "seconds": 0}


def stop_after_two(_folder: object, history: list[dict[str, Any]]) -> None:
    if len(history) == 2:
        raise KeyboardInterrupt


def test_every_schedule_of_the_library_is_an_option() -> None:
    assert set(BETA_SCHEDULES) == set(SCHEDULES)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.5, 0.5, 0.5]),
        ({"beta_schedule": "linear", "beta_warm_up": 4.0}, [0.0, 0.25, 0.5]),
        ({"beta_schedule": "linear", "beta_warm_up": 4.0, "beta_start": 0.5}, [0.25, 0.375, 0.5]),
        ({"beta_schedule": "cosine", "beta_warm_up": 4.0}, [0.0, 0.25, 0.5]),
        ({"beta_schedule": "cyclical", "beta_period": 4.0}, [0.0, 0.5, 0.0]),
    ],
)
def test_options_make_schedules_of_beta(options: dict[str, Any], expected: list[float]) -> None:
    elbo, schedules = ObjectiveSpec(beta_paper=50.0, **options).build(100, SITES, steps=10)
    assert elbo.beta == 0.5
    assert bool(schedules) == bool(options)
    beta = schedules.get("beta", lambda _: 0.5)
    assert [beta(epoch) for epoch in (0.0, 2.0, 4.0)] == pytest.approx(expected)


def test_options_weight_single_sites() -> None:
    factors = {"z1": 0.0, "z3": 4.0}
    spec = ObjectiveSpec(beta=0.5, beta_factors=factors, beta_schedule="linear", beta_warm_up=2)
    elbo, schedules = spec.build(100, SITES, steps=10)
    assert elbo.beta == {"z1": 0.0, "z2": 0.5, "z3": 2.0}
    assert schedules["beta"](1.0) == {"z1": 0.0, "z2": 0.25, "z3": 1.0}


def test_options_choose_the_objective() -> None:
    capacity, _ = ObjectiveSpec(beta=0.5, capacity={"z1": 3.0}).build(100, SITES, steps=10)
    assert isinstance(capacity, CapacityELBO)
    assert capacity.capacity == {"z1": 3.0}
    free, _ = ObjectiveSpec(beta=0.5, free_nats=2.0, gamma=0.3).build(100, SITES, steps=10)
    assert isinstance(free, FreeBitsELBO)
    assert (free.free_nats, free.gamma, free.beta) == (2.0, 0.3, 0.5)
    minibatch = ObjectiveSpec(beta=0.5, gamma=0.3, total_correlation="minibatch-weighted")
    estimator = minibatch.build(100, SITES, steps=10)[0].total_correlation
    assert (estimator.method, estimator.num_data) == ("weighted", 100)
    _, schedules = ObjectiveSpec(beta=0.5, capacity={"z1": 3.0}, capacity_warm_up=6).build(
        100, SITES, steps=10
    )
    assert schedules["capacity"](2.0) == {"z1": pytest.approx(1.0)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_schedule": "liner"}, "beta schedule 'liner' is unknown; did you mean 'linear'"),
        ({"beta_schedule": "linear"}, "--beta-schedule linear needs its length: --beta-warm-up EPOCHS"),
        ({"beta_schedule": "cyclical"}, "needs its length: --beta-period EPOCHS"),
        (
            {"beta_warm_up": 3.0},
            "--beta-warm-up 3 goes with --beta-schedule linear or cosine, and it is constant",
        ),
        ({"beta_schedule": "linear", "beta_warm_up": 0.0}, "--beta-warm-up must be positive"),
        ({"beta_start": 0.1}, "--beta-start must be left alone without --beta-schedule"),
        ({"beta_factors": {"z1": -1.0}}, "--beta-factors must be finite and not negative; got -1"),
        ({"gamma": -0.5}, "--gamma must be finite and not negative"),
        ({"total_correlation": "gausian"}, "total correlation 'gausian' is unknown; did you mean 'gaussian'"),
        ({"capacity": {"z1": float("inf")}}, "--capacity must be finite"),
        ({"capacity": 3.0, "free_nats": 1.0}, "give one of them"),
        ({"capacity_warm_up": 3.0}, "--capacity-warm-up 3 needs the target that it ends in: --capacity NATS"),
        ({"shrinkage": 1.5, "gamma": 1.0}, r"--shrinkage must be within \[0, 1\]; got 1.5"),
        (
            {"shrinkage": 0.1},
            "--shrinkage 0.1 has no effect here; it goes with --gamma and --total-correlation",
        ),
        (
            {"shrinkage": 0.1, "gamma": 1.0, "total_correlation": "minibatch-weighted"},
            "--shrinkage 0.1 has no effect here",
        ),
        ({"warm_up_unit": "step"}, "warm-up unit 'step' is unknown; did you mean 'steps'"),
        ({"warm_up_unit": "steps"}, "--warm-up-unit steps has no effect here; it goes with --beta-warm-up,"),
        (
            {"warm_up_unit": "steps", "beta_schedule": "linear", "beta_warm_up": 2.5},
            "--beta-warm-up must be whole with --warm-up-unit steps; got 2.5",
        ),
    ],
)
def test_bad_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RunSpec.of(**{"beta": 1.0, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capacity": {"z9": 3.0}}, r"--capacity: site 'z9' is unknown; choose 'z1', 'z2' or 'z3'"),
        ({"beta_factors": {"z9": 3.0}}, "--beta-factors: site 'z9' is unknown"),
        ({"gamma": 1.0, "dropout": "none"}, r"--gamma 1.0: the program has no latent site"),
    ],
)
def test_site_that_the_program_does_not_have_is_named_before_anything_is_written(
    quick: Quick, options: dict[str, Any], message: str
) -> None:
    job = quick(**options)
    with pytest.raises(ValueError, match=message):
        job.run()
    assert not job.out.exists()


@pytest.mark.parametrize(("epochs", "reached"), [(3, False), (4, True)])
def test_result_says_whether_beta_arrived(quick: Quick, epochs: int, reached: bool) -> None:
    # The last of the four steps in an epoch starts at epochs - 1/4.
    job = quick(epochs=epochs, beta_schedule="linear", beta_warm_up=3.5)
    with nullcontext() if reached else pytest.warns(UserWarning, match="still on its way when the fit ends"):
        result = job.run()
    assert result["beta_reached"] is reached
    assert json.loads((job.out / "result.json").read_text())["beta_reached"] is reached
    assert result["lagrangian"] == pytest.approx(result["distortion"] + result["beta"] * result["rate"])


@pytest.mark.parametrize("steps", [1, 3, 7, 49])
def test_a_warm_up_in_steps_is_at_its_target_after_so_many(steps: int) -> None:
    """Counted as the loop does, in fractions of epochs, whose last digits are rounded."""
    options = {"beta_schedule": "linear", "beta_warm_up": 10, "warm_up_unit": "steps", "capacity": 8.0}
    spec = ObjectiveSpec(beta=0.5, capacity_warm_up=4, **options)
    _, schedules = spec.build(100, SITES, steps=steps)
    epochs = [finished + step / steps for finished in range(12) for step in range(steps)][:12]
    assert [schedules["beta"](epoch) for epoch in epochs] == [
        min(n / 10, 1) * 0.5 for n in range(len(epochs))
    ]
    assert [schedules["capacity"](epoch) for epoch in epochs] == [
        min(n / 4, 1) * 8 for n in range(len(epochs))
    ]
    assert spec.describe() == "beta linear, 10 steps; capacity 8, grown over 4 steps"


def test_a_run_warms_up_in_its_own_steps(quick: Quick) -> None:
    # 200 images in batches of 50 are four steps an epoch, of 60 without the rest three.
    job = quick(epochs=3, beta_schedule="linear", beta_warm_up=10.0, warm_up_unit="steps")
    assert job.run()["beta_reached"] is True
    rest = {"batch_size": 60, "drop_last": True, "out": job.out.with_name("rest")}
    job = quick(epochs=3, beta_schedule="linear", beta_warm_up=10.0, warm_up_unit="steps", **rest)
    with pytest.warns(UserWarning, match="still on its way when the fit ends"):
        result = job.run()
    assert result["beta_reached"] is False


def test_shrinkage_lets_a_total_correlation_be_weighed_in_small_batches(quick: Quick) -> None:
    job = quick(epochs=1, gamma=0.1, batch_size=8, hidden=8)
    with pytest.raises(ValueError, match="takes at least 9 samples"):
        job.run()
    out = job.out.with_name("shrunk")
    job = quick(out, epochs=1, gamma=0.1, batch_size=8, hidden=8, shrinkage=0.2)
    assert job.run()["objective"] == "gamma 0.1, gaussian, shrinkage 0.2"
    elbo, _ = job.spec.objective.build(100, SITES, steps=1)
    assert elbo.total_correlation.shrinkage == 0.2


def test_result_says_whether_each_rate_is_at_its_capacity(quick: Quick) -> None:
    # z1 has a capacity that a strong pull holds it at; z2's is far beyond what ten epochs make of it.
    options = {"epochs": 20, "limit": 600, "lr": 0.02, "beta_paper": None, "beta": 1.0}
    job = quick(**options, capacity={"z1": 3.0, "z2": 500.0}, beta_factors={"z2": 1e-6, "z3": 0.0})
    result = job.run()
    assert result["capacity_reached/z1"] is True
    assert result["capacity_reached/z2"] is False
    assert "capacity_reached/z3" not in result
    assert result["objective"] == "beta times z2=1e-06, z3=0; capacity z1=3, z2=500"


@pytest.mark.parametrize(("rate", "at_target"), [(9.4, False), (9.6, True), (10.4, True), (10.6, False)])
def test_rate_within_a_twentieth_of_its_capacity_is_at_its_target(rate: float, at_target: bool) -> None:
    spec = ObjectiveSpec(beta=1.0, capacity={"z1": 10.0})
    row = {"rate": rate + 7.0, "rate/z1": rate, "rate/z2": 7.0}
    assert spec.reached(spec.build(100, SITES, steps=10)[0], row) == {"capacity_reached/z1": at_target}


def test_plain_result_speaks_of_no_target(quick: Quick) -> None:
    result = quick().run()
    assert result["objective"] == ""
    assert not [name for name in result if "reached" in name]


def test_options_are_typed_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = f"fit --out {out} --hidden 8 --limit 100 --epochs 2 --beta 0.1 --accelerator cpu --quiet".split()
    words += ["--beta-schedule", "cosine", "--beta-warm-up", "0.5", "--beta-factors", "z1=0.5,z3=2"]
    words += ["--free-nats", "z1=1.5,z2=0", "--gamma", "0.01", "--total-correlation", "minibatch-weighted"]
    assert main(words) == 0
    settings = json.loads((out / "config.json").read_text())["settings"]
    assert settings["free_nats"] == {"z1": 1.5, "z2": 0.0}
    assert settings["beta_factors"] == {"z1": 0.5, "z3": 2.0}
    assert (settings["gamma"], settings["beta_schedule"], settings["beta_warm_up"]) == (0.01, "cosine", 0.5)
    assert main(["evaluate", str(out)]) == 0
    header = (out / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"beta/z1", "beta_paper/z1", "lagrangian", "total_correlation/z1", "loss"} <= set(header)
    assert main([*words, "--resume"]) == 0
    capsys.readouterr()
    assert main([*words, "--free-nats", "z1"]) == 2
    assert "--free-nats" in capsys.readouterr().err


def test_lagrangian_weighs_every_site() -> None:
    row = {"distortion": 0.5, "rate": 12.0, "rate/z1": 10.0, "rate/z2": 2.0, "total_correlation/z2": 3.0}
    assert lagrangian(row, 0.1) == pytest.approx(0.5 + 1.2)
    assert lagrangian(row, {"z1": 0.1}, {"z2": 2.0}) == pytest.approx(0.5 + 1.0 + 2.0 + 6.0)
    # A site that gamma leaves out has none of it.
    assert lagrangian({**row, "total_correlation/z1": 7.0}, 0.1, {"z2": 2.0}) == pytest.approx(
        0.5 + 1.2 + 6.0
    )
