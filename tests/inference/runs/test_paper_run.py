"""A run of the paper's kind: resumed where it was interrupted, not run again, its learned priors kept stable."""

import pytest
import torch

from ib_pyro.training.evaluation import evaluate
from inference.json_and_csv import read_json
from inference.runs import run as run_module
from inference.runs.data_spec import DataSpec
from inference.runs.folder import RunFolder
from inference.runs.run import load_run, run
from inference.studies.paper.plan import Size, paper_run

SIZE = Size(sizes=(8,), epochs=4, lr=0.07, batch_size=50, train_images=150, test_images=50)


def spec_of(**settings):
    program = {"model": "mlp", "data": "mnist", "hidden": 8, "beta_paper": 1.0, "stand_in": True}
    return paper_run(SIZE, **{**program, **settings})


class Interrupted(Exception):
    """Stands for the key that a user presses."""


def interrupt_after(epochs, monkeypatch):
    """Make the fit of a run stop after some epochs, whose checkpoint is written."""
    original = RunFolder.write_metrics

    def write(folder, history):
        original(folder, history)
        if len(history) > epochs:
            raise Interrupted

    monkeypatch.setattr(RunFolder, "write_metrics", write)


def numbers(result):
    return {name: value for name, value in result.items() if name != "seconds"}


def test_an_interrupted_run_ends_in_the_numbers_of_an_uninterrupted_one(tmp_path):
    out, options = tmp_path / "broken", {"resume": True, "progress": False}
    whole = run(spec_of(), tmp_path / "whole", **options)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(2, patch)
        with pytest.raises(Interrupted):
            run(spec_of(), out, **options)
    assert not (out / "result.json").exists()
    checkpoint = torch.load(out / "checkpoint.pt", weights_only=True)
    assert len(checkpoint["history"]) in (2, 3)
    assert numbers(run(spec_of(), out, **options)) == numbers(whole)


def test_a_finished_run_returns_its_result_without_data(tmp_path, monkeypatch):
    result = run(spec_of(), tmp_path / "run", progress=False)
    monkeypatch.setattr(DataSpec, "build", None)
    assert run(spec_of(), tmp_path / "run", resume=True) == result
    assert read_json(tmp_path / "run" / "result.json") == result


def test_the_ambient_generator_is_left_as_it_was(tmp_path):
    state = torch.get_rng_state()
    run(spec_of(), tmp_path / "run", progress=False)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_loaded_program_repeats_the_deterministic_error(tmp_path):
    result = run(spec_of(), tmp_path / "run", progress=False)
    program, splits = load_run(tmp_path / "run")
    found = evaluate(program, splits.test, train=splits.train, batch_size=1000)
    assert found.error_deterministic == result["test_error_deterministic"]
    for site, rate in found.rate.items():
        assert rate == pytest.approx(result[f"rate/{site}"], rel=0.05)


def test_different_settings_have_different_names():
    spec = spec_of()
    others = [{"seed": 1}, {"epochs": 5}, {"lr_drops": (2,)}, {"whiten": True}, {"lr": 0.01}]
    assert len({each.name for each in [spec, *(spec.but(**change) for change in others)]}) == 6


@pytest.mark.parametrize("beta_paper", [0.01, 100.0])
def test_a_learned_prior_stays_finite_whatever_beta(tmp_path, beta_paper):
    spec = spec_of(activation="softplus", beta_paper=beta_paper, hidden=64, lr=0.1)
    result = run(spec, tmp_path / "run", progress=False)
    assert result["rate"] < 1000
    program, _ = load_run(tmp_path / "run")
    for layer in program.stochastic_layers.values():
        assert abs(layer.prior_log_scale) < 5


def test_only_what_is_asked_for_is_evaluated(tmp_path, monkeypatch):
    """Held-out images of a run that chooses are tested once, not after each epoch."""
    seen = []
    monkeypatch.setattr(run_module, "fit", lambda *_, **options: seen.append(options["validation"]) or 1 / 0)
    for every in (False, True):
        with pytest.raises(ZeroDivisionError):
            run(spec_of(validation_limit=20, validate_every_epoch=every), tmp_path / str(every))
    assert seen[0] is None
    assert len(seen[1]) == 20
