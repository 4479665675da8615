"""A run leaves everything that it was and found in its folder, and never two runs in one."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from inference import FitConfig, evaluate_run, run
from inference.experiment import load_run
from inference.run_folder import RunFolder

Quick = Callable[..., FitConfig]
ERRORS = [
    f"{split}_error_{kind}"
    for split in ("test", "validation")
    for kind in ("noisy", "predictive", "deterministic")
]


def rows(config: FitConfig) -> list[dict[str, str]]:
    with (config.out / "metrics.csv").open() as handle:
        return list(csv.DictReader(handle))


def test_folder_tells_everything(quick: Quick) -> None:
    config = quick()
    result = run(config, progress=False)
    names = {path.name for path in config.out.iterdir()}
    assert names == {"config.json", "metrics.csv", "checkpoint.pt", "result.json"}
    told = json.loads((config.out / "config.json").read_text())
    assert FitConfig.from_settings(told["settings"]) == config
    assert told["versions"]["torch"] == torch.__version__.split("+")[0]
    assert (told["beta"], told["beta_paper"], told["num_train"]) == (1 / 200, 1.0, 200)
    assert told["lr_drops"] == [2]
    assert [row["epoch"] for row in rows(config)] == ["1", "2", "3"]
    assert json.loads((config.out / "result.json").read_text()) == result
    assert all(0 <= result[name] <= 1 for name in ERRORS)
    assert (result["beta"], result["beta_paper"], result["epochs"]) == (1 / 200, 1.0, 3)
    assert result["rate"] == pytest.approx(sum(result[f"rate/z{layer}"] for layer in (1, 2, 3)))
    assert result["num_parameters"] == sum(p.numel() for p in load_run(config.out)[0].parameters())
    assert result["distortion"] > 0


def test_evaluate_recomputes_the_result(quick: Quick) -> None:
    config = quick(dropout="binary")
    run(config, progress=False)
    before = (config.out / "result.json").read_bytes()
    (config.out / "result.json").unlink()
    evaluate_run(config.out)
    assert (config.out / "result.json").read_bytes() == before


def test_evaluate_refuses_an_unfinished_run(quick: Quick) -> None:
    config = quick()
    run(config, progress=False)
    told = json.loads((config.out / "config.json").read_text())
    told["settings"]["epochs"] = 9
    (config.out / "config.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match="at epoch 3 of 9; go on with"):
        evaluate_run(config.out)


def test_caller_keeps_its_random_state_and_threads(quick: Quick) -> None:
    state = torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        run(quick(threads=1, epochs=1), progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_same_seed_same_numbers_whatever_was_drawn_before(quick: Quick, tmp_path: Path) -> None:
    first = run(quick(out=tmp_path / "a"), progress=False)
    torch.rand(10)
    second = run(quick(out=tmp_path / "b"), progress=False)
    other = run(quick(out=tmp_path / "c", seed=1), progress=False)
    first.pop("seconds"), second.pop("seconds")
    assert first == second
    assert other["distortion"] != first["distortion"]


def test_finished_run_is_not_run_again(quick: Quick) -> None:
    config = quick()
    result = run(config, progress=False)
    modified = (config.out / "checkpoint.pt").stat().st_mtime_ns
    with pytest.raises(ValueError, match="already holds this run, finished; add --resume"):
        run(config, progress=False)
    assert run(config, resume=True, progress=False) == result
    assert (config.out / "checkpoint.pt").stat().st_mtime_ns == modified


@pytest.mark.parametrize("resume", [False, True])
def test_folder_of_another_run_is_refused_with_the_differences(quick: Quick, resume: bool) -> None:
    config = quick(epochs=1)
    run(config, progress=False)
    other = replace(config, lr=0.5, seed=4)
    with pytest.raises(ValueError, match=r"another run \(lr: 0.07 there, 0.5 here; seed: 0 there, 4 here\)"):
        run(other, resume=resume, progress=False)


def test_folder_of_something_else_is_refused(quick: Quick) -> None:
    config = quick()
    config.out.mkdir()
    (config.out / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        run(config, resume=True, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "digitz"}, "unknown data set 'digitz'; nearest: digits"),
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
    config = quick(**options)
    with pytest.raises(ValueError, match=message):
        run(config, progress=False)
    assert not config.out.exists()


def test_without_held_out_images_there_is_no_validation(quick: Quick) -> None:
    config = quick(holdout=0, limit=None, epochs=1)
    result = run(config, progress=False)
    assert result["num_train"] == 1437
    assert "validation_error" not in rows(config)[0]
    assert not any(name.startswith("validation") for name in result)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_run(quick: Quick, precision: str) -> None:
    assert 0 < run(quick(precision=precision, epochs=1), progress=False)["distortion"] < 10


def test_real_images(quick: Quick, mnist_root: Path) -> None:
    config = quick(data="mnist", data_root=mnist_root, limit=2000, epochs=2, holdout=0, hidden=32)
    result = run(config, progress=False)
    assert result["num_train"] == 2000
    assert result["test_error_deterministic"] < 0.3


def test_tensorboard_reads_the_metrics_of_an_interrupted_run_too(
    quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick(tensorboard=True)
    write = RunFolder.write_metrics

    def stop_after_two(folder: RunFolder, history: list[dict[str, object]]) -> None:
        write(folder, history)
        if len(history) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_metrics", stop_after_two)
        with pytest.raises(KeyboardInterrupt):
            run(config, progress=False)
    run(config, resume=True, progress=False)
    events = EventAccumulator(str(config.out / "tensorboard"))
    events.Reload()
    for name in ("loss", "rate/z1", "beta", "validation_error"):
        found = {event.step: event.value for event in events.Scalars(name)}
        assert found == {int(row["epoch"]): pytest.approx(float(row[name])) for row in rows(config)}


@pytest.mark.parametrize("latent", ["gaussian", "information"])
def test_autoencoder_fits_with_the_default_options(quick: Quick, latent: str) -> None:
    config = quick(model="vae", latent=latent, hidden=64, beta_paper=None, limit=None, epochs=2)
    result = run(config, progress=False)
    first, last = rows(config)
    assert float(last["loss"]) < float(first["loss"])
    assert result["test_gap"] == pytest.approx(result["test_importance_weighted"] - result["test_elbo"])
    assert 0 < result["test_gap"] < 50
    # The closed-form rate and the weights of single draws estimate the same bound.
    error = result["test_importance_weighted_standard_error"]
    assert 0.1 < error < 10
    assert -(result["distortion"] + result["rate"]) == pytest.approx(result["test_elbo"], abs=error)
