"""One run: resumed where it was interrupted, told from others by its settings, its priors kept stable."""

import dataclasses
import json

import pytest
import torch

from inference.paper import execution
from inference.paper.execution import execute, load_program
from inference.paper.run import PaperRun, Place

RUN = PaperRun(
    model="mlp",
    data="mnist",
    size=8,
    epochs=4,
    beta_paper=1.0,
    batch_size=50,
    train_images=150,
    test_images=50,
)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


class Interrupted(Exception):
    """Stands for the key that a user presses."""


def interrupt_after(epochs, monkeypatch):
    """Make the fit of a run stop after some epochs, whose checkpoint is written."""
    original = execution.RunFolder.write_metrics

    def write(folder, history):
        original(folder, history)
        if len(history) > epochs:
            raise Interrupted

    monkeypatch.setattr(execution.RunFolder, "write_metrics", write)


def numbers(result):
    return {name: value for name, value in result.items() if name != "seconds"}


def test_an_interrupted_run_ends_in_the_numbers_of_an_uninterrupted_one(place, tmp_path):
    whole = execute(RUN, Place(tmp_path / "whole"))
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(2, patch)
        with pytest.raises(Interrupted):
            execute(RUN, place)
    assert not (place.folder(RUN) / "result.json").exists()
    checkpoint = torch.load(place.folder(RUN) / "checkpoint.pt", weights_only=True)
    assert len(checkpoint["history"]) in (2, 3)
    assert numbers(execute(RUN, place)) == numbers(whole)


def test_a_finished_run_returns_its_result_without_data(place, monkeypatch):
    result = execute(RUN, place)
    monkeypatch.setattr(execution, "load_splits", None)
    assert execute(RUN, place) == result
    assert json.loads((place.folder(RUN) / "result.json").read_text()) == result


def test_the_ambient_generator_is_left_as_it_was(place):
    state = torch.get_rng_state()
    execute(RUN, place)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_loaded_program_repeats_the_deterministic_error(place):
    result = execute(RUN, place)
    program, splits = load_program(RUN, place)
    found = execution.evaluate(program, splits.test, train=splits.train, batch_size=1000)
    assert found.error_deterministic == result["test_error_deterministic"]
    for site, rate in found.rate.items():
        assert rate == pytest.approx(result[f"rate/{site}"], rel=0.05)


def test_different_settings_have_different_folders():
    others = [
        dataclasses.replace(RUN, **change)
        for change in ({"seed": 1}, {"epochs": 5}, {"drops": (2,)}, {"whiten": True}, {"lr": 0.01})
    ]
    assert len({run.name for run in [RUN, *others]}) == 6


def test_settings_at_their_defaults_are_not_part_of_the_name():
    names = "model data size epochs beta_paper batch_size train_images test_images"
    assert set(RUN.settings()) == set(names.split())
    assert RUN.differences(RUN.settings()) == []
    assert RUN.differences({**RUN.settings(), "seed": 3}) == ["seed: 3 there, None here"]


@pytest.mark.parametrize("beta_paper", [0.01, 100.0])
def test_a_learned_prior_stays_finite_whatever_beta(place, beta_paper):
    run = dataclasses.replace(RUN, activation="softplus", beta_paper=beta_paper, size=64, lr=0.1)
    result = execute(run, place)
    assert result["rate"] < 1000
    program, _ = load_program(run, place)
    for layer in program.stochastic_layers.values():
        assert abs(layer.prior_log_scale) < 5
