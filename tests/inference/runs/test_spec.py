"""Settings are refused before anything is read or written, and survive a round trip through a file."""

import json
from pathlib import Path

import pytest

from inference import RunSpec
from inference.json_and_csv import read_json, write_json
from inference.runs.training_spec import milestones


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": -1.0}, "--beta must be finite and not negative; got -1.0"),
        ({"beta_paper": float("nan")}, "--beta-paper must be finite"),
        ({"beta": 1.0, "beta_paper": 1.0}, "two units of one number"),
        ({}, "--dropout information needs the weight of its rate"),
        ({"beta": 1.0, "model": "mpl"}, "model 'mpl' is unknown; did you mean 'mlp'"),
        ({"beta": 1.0, "dropout": "binry"}, "dropout 'binry' is unknown; did you mean 'binary'"),
        ({"beta": 1.0, "optimizer": "adm"}, "optimizer 'adm' is unknown; did you mean 'adam'"),
        ({"beta": 1.0, "schedule": "papr"}, "schedule 'papr' is unknown; did you mean 'paper'"),
        ({"beta": 1.0, "epochs": 0}, "--epochs must be at least 1; got 0"),
        ({"beta": 1.0, "batch_size": 0}, "--batch-size must be at least 1"),
        ({"beta": 1.0, "lr": 0.0}, "--lr must be positive"),
        ({"beta": 1.0, "momentum": 1.0}, "--momentum must be within"),
        ({"beta": 1.0, "nesterov": True, "momentum": 0.0}, "--momentum must be positive with --nesterov"),
        ({"beta": 1.0, "drop_prob": 1.0}, "--drop-prob must be within"),
        ({"beta": 1.0, "alpha": 0.0}, "--alpha must be positive"),
        ({"beta": 1.0, "seed": -1}, "--seed must be within"),
        ({"beta": 1.0, "lr_drops": (60, 40)}, "--lr-drops must be increasing"),
        ({"beta": 1.0, "lr_drops": (40, 80)}, "--lr-drops must be increasing and within"),
    ],
)
def test_bad_setting_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace("[", r"\[")):
        RunSpec.of(**options)


@pytest.mark.parametrize("dropout", ["none", "binary", "constant"])
def test_noise_without_a_rate_to_learn_needs_no_beta(dropout: str) -> None:
    assert RunSpec.of(dropout=dropout).betas(100) == (0.0, 0.0)


def test_a_program_that_reconstructs_is_fitted_to_its_bound_unless_told() -> None:
    assert RunSpec.of(model="vae").betas(50) == (1.0, 50.0)
    assert RunSpec.of(model="vae", beta_paper=2.0).betas(50) == (0.04, 2.0)


def test_both_units_of_beta() -> None:
    assert RunSpec.of(beta_paper=2.0).betas(50) == (0.04, 2.0)
    assert RunSpec.of(beta=0.04).betas(50) == (0.04, 2.0)


@pytest.mark.parametrize(
    ("schedule", "epochs", "drops"),
    [
        ("paper", 160, (80, 120)),
        ("paper", 80, (40, 60)),
        ("authors-code", 200, (80, 120, 160)),
        ("constant", 80, ()),
        ("paper", 1, ()),
        ("paper", 2, (1,)),
    ],
)
def test_schedules(schedule: str, epochs: int, drops: tuple[int, ...]) -> None:
    assert milestones(schedule, epochs) == drops


def test_explicit_drops_override_the_schedule() -> None:
    assert RunSpec.of(beta=1.0).training.lr_milestones == (40, 60)
    assert RunSpec.of(beta=1.0, lr_drops=(5,)).training.lr_milestones == (5,)


def test_settings_survive_a_file(tmp_path: Path) -> None:
    spec = RunSpec.of(beta=1e-3, lr_drops=(3, 7), data_root=tmp_path)
    write_json(tmp_path / "config.json", spec.settings())
    assert RunSpec.from_settings(read_json(tmp_path / "config.json")) == spec


def test_unknown_setting_in_a_file() -> None:
    with pytest.raises(ValueError, match="setting 'batchsize' is unknown; did you mean 'batch_size'"):
        RunSpec.of(batchsize=3)


def test_place_is_no_difference() -> None:
    spec = RunSpec.of(beta=1.0)
    moved = spec.but(data_root=Path("elsewhere"), tensorboard=True)
    assert spec.differences(moved) == []
    assert spec.name == moved.name
    assert spec.but(lr=0.1).differences(spec) == ["lr: 0.07 there, 0.1 here"]


def test_setting_that_an_older_version_did_not_have_is_its_default() -> None:
    spec = RunSpec.of(beta=1.0)
    settings = spec.settings()
    del settings["nesterov"]
    assert RunSpec.from_settings(settings) == spec


def test_infinite_numbers_are_null_in_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"rate": float("inf"), "nested": [float("nan"), 1.0]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"rate": None, "nested": [None, 1.0]}
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({"beta": 1.0}, ("sgd", 0.07)),
        ({"beta": 1.0, "optimizer": "adam"}, ("adam", 1e-3)),
        ({"model": "vae"}, ("adam", 1e-3)),
        ({"model": "vae", "lr": 3e-4}, ("adam", 3e-4)),
        ({"model": "vae", "optimizer": "sgd", "lr": 1e-4}, ("sgd", 1e-4)),
    ],
)
def test_default_optimiser_suits_the_program(options: dict[str, object], chosen: tuple[str, float]) -> None:
    spec = RunSpec.of(**options)
    assert (spec.training.optimizer, spec.training.lr) == chosen
    assert RunSpec.from_settings(spec.settings()) == spec


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "vae", "hidden": 128}, "--hidden 128 has no effect with --model vae"),
        ({"model": "vae", "dropout": "binary"}, "--dropout binary has no effect with --model vae"),
        ({"latent": "gaussian"}, "it goes with --model vae"),
        ({"k": 2}, "it goes with --model vae"),
        ({"drop_prob": 0.2}, "--drop-prob 0.2 has no effect with --dropout information"),
        ({"dropout": "binary", "alpha": 0.2}, "--alpha 0.2 has no effect with --dropout binary"),
        ({"optimizer": "adam", "momentum": 0.5}, "--momentum 0.5 has no effect with --optimizer adam"),
    ],
)
def test_a_setting_without_effect_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RunSpec.of(**{"beta": 1e-3, **settings})


def test_settings_that_go_with_each_other_are_taken():
    RunSpec.of(model="vae", latent="gaussian", k=2, num_importance_samples=8)
    RunSpec.of(dropout="binary", drop_prob=0.2, hidden=8)
    RunSpec.of(dropout="constant", alpha=0.2, momentum=0.5, nesterov=True)
