"""A run leaves everything that it was and found in its folder, and never two runs in one."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from inference import evaluate_run
from inference.json_and_csv import read_json
from inference.runs.folder import RunFolder
from inference.runs.run import load_run

Quick = Callable[..., Any]
ERRORS = [
    f"{split}_error_{kind}"
    for split in ("test", "validation")
    for kind in ("noisy", "predictive", "deterministic")
]


def rows(job: Any) -> list[dict[str, str]]:
    with (job.out / "metrics.csv").open() as handle:
        return list(csv.DictReader(handle))


def test_folder_tells_everything(quick: Quick) -> None:
    job = quick()
    result = job.run()
    names = {path.name for path in job.out.iterdir()}
    assert names == {"config.json", "metrics.csv", "checkpoint.pt", "result.json", ".lock"}
    told = json.loads((job.out / "config.json").read_text())
    assert RunFolder(job.out).spec() == job.spec
    assert set(told["versions"]) == {"python", "ib-pyro", "torch", "pyro-ppl", "lightning", "numpy"}
    assert told["versions"]["torch"] == torch.__version__.split("+")[0]
    assert (told["beta"], told["beta_paper"], told["num_train"]) == (1 / 200, 1.0, 200)
    assert told["lr_drops"] == [2]
    assert [row["epoch"] for row in rows(job)] == ["1", "2", "3"]
    assert read_json(job.out / "result.json") == result
    assert all(0 <= result[name] <= 1 for name in ERRORS)
    assert (result["beta"], result["beta_paper"], result["epochs"]) == (1 / 200, 1.0, 3)
    assert result["rate"] == pytest.approx(sum(result[f"rate/z{layer}"] for layer in (1, 2, 3)))
    assert result["num_parameters"] == sum(p.numel() for p in load_run(job.out)[0].parameters())
    assert result["distortion"] > 0


def test_evaluate_recomputes_the_result(quick: Quick) -> None:
    job = quick(dropout="binary")
    job.run()
    before = (job.out / "result.json").read_bytes()
    (job.out / "result.json").unlink()
    evaluate_run(job.out)
    assert (job.out / "result.json").read_bytes() == before


def test_evaluate_refuses_an_unfinished_run(quick: Quick, monkeypatch: pytest.MonkeyPatch) -> None:
    job = quick(epochs=9)
    write = RunFolder.write_metrics

    def stop_after_three(folder: RunFolder, history: list[dict[str, object]]) -> None:
        write(folder, history)
        if len(history) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_metrics", stop_after_three)
        with pytest.raises(KeyboardInterrupt):
            job.run()
    with pytest.raises(ValueError, match="at epoch 3 of 9; go on with"):
        evaluate_run(job.out)


def test_caller_keeps_its_random_state_and_threads(quick: Quick) -> None:
    state = torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        quick(threads=1, epochs=1).run()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_same_seed_same_numbers_whatever_was_drawn_before(quick: Quick, tmp_path: Path) -> None:
    first = quick(out=tmp_path / "a").run()
    torch.rand(10)
    second = quick(out=tmp_path / "b").run()
    other = quick(out=tmp_path / "c", seed=1).run()
    first.pop("seconds"), second.pop("seconds")
    assert first == second
    assert other["distortion"] != first["distortion"]


def test_finished_run_is_not_run_again(quick: Quick) -> None:
    job = quick()
    result = job.run()
    modified = (job.out / "checkpoint.pt").stat().st_mtime_ns
    with pytest.raises(ValueError, match="already holds this run, finished; add --resume"):
        job.run()
    assert job.run(resume=True) == result
    assert (job.out / "checkpoint.pt").stat().st_mtime_ns == modified


@pytest.mark.parametrize("resume", [False, True])
def test_folder_of_another_run_is_refused_with_the_differences(quick: Quick, resume: bool) -> None:
    job = quick(epochs=1)
    job.run()
    other = quick(epochs=1, lr=0.5, seed=4)
    with pytest.raises(ValueError, match=r"another run \(lr: 0.07 there, 0.5 here; seed: 0 there, 4 here\)"):
        other.run(resume=resume)


def test_folder_of_something_else_is_refused(quick: Quick) -> None:
    job = quick()
    job.out.mkdir()
    (job.out / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        job.run(resume=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "digitz"}, "data set 'digitz' is unknown; did you mean 'digits'"),
        ({"data": "mnist", "data_root": None}, "--data-root"),
        ({"batch_size": 199}, "a batch of a single sample"),
        ({"limit": 5000}, "--limit: 5000"),
        ({"holdout": 5000}, "--holdout: 5000"),
        ({"accelerator": "abacus"}, "--accelerator abacus"),
    ],
)
def test_bad_input_leaves_no_folder(
    quick: Quick, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], message: str
) -> None:
    monkeypatch.delenv("IB_PYRO_DATA", raising=False)
    job = quick(**options)
    with pytest.raises(ValueError, match=message):
        job.run()
    assert not job.out.exists()


def test_without_held_out_images_there_is_no_validation(quick: Quick) -> None:
    job = quick(holdout=0, limit=None, epochs=1)
    result = job.run()
    assert result["num_train"] == 1437
    assert "validation_error" not in rows(job)[0]
    assert not any(name.startswith("validation") for name in result)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_run(quick: Quick, precision: str) -> None:
    assert 0 < quick(precision=precision, epochs=1).run()["distortion"] < 10


def test_real_images(quick: Quick, mnist_root: Path) -> None:
    job = quick(data="mnist", data_root=mnist_root, limit=2000, epochs=2, holdout=0, hidden=32)
    result = job.run()
    assert result["num_train"] == 2000
    assert result["test_error_deterministic"] < 0.3


def test_tensorboard_reads_the_metrics_of_an_interrupted_run_too(
    quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = quick(tensorboard=True)
    write = RunFolder.write_metrics

    def stop_after_two(folder: RunFolder, history: list[dict[str, object]]) -> None:
        write(folder, history)
        if len(history) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_metrics", stop_after_two)
        with pytest.raises(KeyboardInterrupt):
            job.run()
    job.run(resume=True)
    events = EventAccumulator(str(job.out / "tensorboard"))
    events.Reload()
    for name in ("loss", "rate/z1", "beta", "validation_error"):
        found = {event.step: event.value for event in events.Scalars(name)}
        assert found == {int(row["epoch"]): pytest.approx(float(row[name])) for row in rows(job)}


def test_an_autoencoder_of_grey_images_fits_and_says_what_its_nats_are_of(quick: Quick) -> None:
    job = quick(model="vae", likelihood="continuous-bernoulli", latent="gaussian", epochs=3)
    result = job.run()
    first, *_, last = rows(job)
    assert float(last["loss"]) < float(first["loss"])
    assert result["units"] == "nats per image, of the test set, of its grey values"
    assert result["likelihood"] == "continuous-bernoulli"
    # A density of 64 pixels that are mostly 0: no binary likelihood is above 1.
    assert result["test_elbo"] > 0
    error = result["test_importance_weighted_standard_error"]
    assert -(result["distortion"] + result["rate"]) == pytest.approx(result["test_elbo"], abs=error)


def test_levels_that_are_not_those_of_bytes_are_refused_by_name(quick: Quick) -> None:
    with pytest.raises(ValueError, match=r"grey y is one of the 256 levels .*'continuous-bernoulli'"):
        quick(model="vae", likelihood="discretized-logistic").run()


@pytest.mark.parametrize("latent", ["gaussian", "information"])
def test_autoencoder_fits_with_the_default_options(quick: Quick, latent: str) -> None:
    job = quick(model="vae", latent=latent, limit=None, epochs=2)
    result = job.run()
    first, last = rows(job)
    assert float(last["loss"]) < float(first["loss"])
    assert result["test_gap"] == pytest.approx(result["test_importance_weighted"] - result["test_elbo"])
    assert 0 < result["test_gap"] < 50
    # The closed-form rate and the weights of single draws estimate the same bound.
    error = result["test_importance_weighted_standard_error"]
    assert 0.1 < error < 10
    assert -(result["distortion"] + result["rate"]) == pytest.approx(result["test_elbo"], abs=error)
