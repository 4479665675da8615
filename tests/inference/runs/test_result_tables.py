"""Finished runs side by side."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from inference.cli import main
from inference.json_and_csv import read_json, write_json
from inference.runs.failure import Failure
from inference.runs.result_tables import comparison_table, print_result


def result(seed: int, error: float, **changes: object) -> dict[str, object]:
    common = {
        "model": "mlp",
        "data": "digits",
        "dropout": "binary",
        "beta": 0.0,
        "beta_paper": 0.0,
        "epochs": 3,
    }
    return {**common, "seed": seed, "test_error_noisy": error, "distortion": 0.5, "rate": 0.0, **changes}


def test_seeds_are_one_line_with_their_standard_error():
    # 1, 3 and 5 %: mean 3, standard error 2 / sqrt(3); the distortion is the same in all.
    lines = comparison_table([result(0, 0.01), result(1, 0.03), result(2, 0.05)])
    assert lines[2] == "| mlp, digits | binary | 0 [0] | 3 | 3 | 3.00 ± 1.15 | 0.50 ± 0.00 | 0.00 ± 0.00 |"


def test_another_beta_is_another_line_and_a_bound_has_a_column_of_its_own():
    vae = {"model": "vae", "latent": "gaussian", "k": 1, "test_elbo": -98.0, "test_error_noisy": None}
    lines = comparison_table([result(0, 0.01), result(0, 0.01, beta=1.0), result(0, 0.0, **vae)])
    assert len(lines) == 2 + 3
    assert "bound, 1 draw" in lines[0]
    assert "gaussian latent, k = 1" in lines[4]
    assert "| -98.00 |" in lines[4]


@pytest.mark.parametrize(
    ("name", "one", "other", "shown"),
    [
        ("drop_prob", 0.2, 0.6, None),
        ("lr", 0.07, 0.01, "lr 0.01"),
        ("optimizer", "sgd", "adam", "optimizer adam"),
        ("batch_size", 50, 100, "batch size 100"),
        ("weight_decay", 0.0, 0.001, "weight decay 0.001"),
        ("hidden", 8, 16, "hidden 16"),
        ("data_seed", 0, 5, "data seed 5"),
    ],
)
def test_runs_of_other_settings_are_no_seeds_of_one(name: str, one: Any, other: Any, shown: str | None):
    settings = [{name: one}, {name: one}, {name: other}]
    runs = [
        result(seed, error, **s)
        for seed, error, s in zip((0, 1, 0), (0.38, 0.36, 0.86), settings, strict=True)
    ]
    lines = comparison_table(runs, settings)[2:]
    assert len(lines) == 2
    assert "| 2 | 37.00 ± 1.00 |" in lines[0]
    assert "| 1 | 86.00 |" in lines[1]
    assert shown is None or shown in lines[1]
    # What the results themselves say is enough where there is nothing else.
    assert len(comparison_table(runs)) == 2 + 2


def test_a_setting_that_differs_is_said_beside_a_column_that_differs_too():
    runs = [result(0, 0.1, beta=1.0), result(0, 0.1, beta=2.0)]
    lines = comparison_table(runs, [{"beta": 1.0}, {"beta": 2.0, "lr": 0.3}])
    assert "mlp, digits, lr None |" in lines[2]
    assert "mlp, digits, lr 0.3 |" in lines[3]


def test_seeds_that_are_not_finite_are_counted():
    lines = comparison_table(
        [result(0, 0.01), result(1, 0.03, distortion=None), result(2, 0.05, distortion=None)]
    )
    assert "| 3.00 ± 1.15 | 0.50 (2 of 3 not finite) | 0.00 ± 0.00 |" in lines[2]
    alone = comparison_table([result(0, 0.01, distortion=None)])
    assert "| 1.00 | not finite | 0.00 |" in alone[2]


def test_a_result_that_is_not_finite_is_printed(tmp_path: Path):
    told = result(0, 0.01, distortion=None, test_error_predictive=0.0, test_error_deterministic=None)
    console = Console(file=io.StringIO(), width=100)
    print_result({**told, "num_samples": 1, "seconds": 0.0, "rate/z1": None}, tmp_path, console=console)
    text = console.file.getvalue()
    assert "not finite nats per sample" in text


def test_the_same_run_twice_is_refused(quick: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    job = quick(epochs=1)
    job.run()
    copy = tmp_path / "copy"
    shutil.copytree(job.out, copy)
    for other in (job.out, job.out / ".." / "run", copy):
        assert main(["compare", str(job.out), str(other)]) == 2
        assert "are the same run (seed 0), which counts once" in capsys.readouterr().err
    quick(out=tmp_path / "other", epochs=1, seed=1).run()
    assert main(["compare", str(job.out), str(tmp_path / "other")]) == 0
    assert "| 1 | 2 |" in capsys.readouterr().out


def test_a_seed_that_failed_is_counted_and_said(
    quick: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for seed in (0, 1):
        quick(out=tmp_path / str(seed), epochs=1, seed=seed).run()
    (tmp_path / "1" / "result.json").unlink()
    Failure.of(FloatingPointError("epoch 1: not finite"), tmp_path / "1").write(tmp_path / "1")
    assert main(["compare", str(tmp_path / "0"), str(tmp_path / "1")]) == 0
    printed = capsys.readouterr().out
    assert "| 1 | 1 of 2 |" in printed
    assert f"failed: {tmp_path / '1'}: 1: epoch 1: not finite" in printed
    assert main(["compare", str(tmp_path / "1")]) == 0
    assert capsys.readouterr().out.startswith("failed: ")


def test_seeds_on_changed_images_are_two_lines(
    quick: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for seed in (0, 1):
        quick(out=tmp_path / str(seed), epochs=1, seed=seed).run()
    told = read_json(tmp_path / "1" / "config.json")
    told["fingerprints"]["train"] = "another"
    write_json(tmp_path / "1" / "config.json", told, sealed=True)
    assert main(["compare", str(tmp_path / "0"), str(tmp_path / "1")]) == 0
    assert "fingerprint of train another" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["images", "file"])
def test_a_run_that_failed_does_not_make_one_line_of_two(
    kind: str, quick: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for seed in (0, 1, 2):
        quick(out=tmp_path / str(seed), epochs=1, seed=seed).run()
    told = read_json(tmp_path / "1" / "config.json")
    if kind == "images":
        told["fingerprints"]["train"] = "another"
    else:
        told["sources"] = {"model": {"files": {"my_module.py": "another"}}}
    write_json(tmp_path / "1" / "config.json", told, sealed=True)
    (tmp_path / "2" / "result.json").unlink()
    Failure.of(FloatingPointError("epoch 1: not finite"), tmp_path / "2").write(tmp_path / "2")
    assert main(["compare", *(str(tmp_path / str(seed)) for seed in (0, 1, 2))]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| 1 | 1 |") == 2, printed
    assert "not finite (a seed of one of 2 lines)" in printed
    assert main(["compare", str(tmp_path / "0"), str(tmp_path / "2")]) == 0
    printed = capsys.readouterr().out
    assert "| 1 | 1 of 2 |" in printed
    assert "lines)" not in printed


def test_a_run_without_fingerprints_does_not_make_one_line_of_two(
    quick: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for seed in (0, 1, 2):
        quick(out=tmp_path / str(seed), epochs=1, seed=seed).run()
    for seed, change in ((1, {"train": "another"}), (2, {})):
        told = read_json(tmp_path / str(seed) / "config.json")
        told["fingerprints"] = {**told["fingerprints"], **change} if change else {}
        write_json(tmp_path / str(seed) / "config.json", told, sealed=True)
    assert main(["compare", *(str(tmp_path / str(seed)) for seed in (0, 1, 2))]) == 0
    assert "fingerprint of train another" in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "0"), str(tmp_path / "2")]) == 0
    assert "| 1 | 2 |" in capsys.readouterr().out


def test_what_an_earlier_version_wrote_is_said_to_be_unverified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "result.json").write_text(json.dumps(result(0, 0.01)))
    assert main(["compare", str(tmp_path)]) == 0
    assert "unverified: 1 of 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", ["{}", '{"model": "mlp", "data": "digits"}', "[]", "", "\xff", "{" * 100_000]
)
def test_a_result_of_something_else_is_refused_in_a_line(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "result.json").write_bytes(content.encode("latin-1"))
    assert main(["compare", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "result.json") in error
    assert error.count("\n") == 1


def test_an_unfinished_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["compare", str(tmp_path)]) == 2
    assert f"{tmp_path} has no result.json" in capsys.readouterr().err
    (tmp_path / "result.json").write_text(json.dumps(result(0, 0.01)))
    assert main(["compare", str(tmp_path)]) == 0
    assert "| binary |" in capsys.readouterr().out
