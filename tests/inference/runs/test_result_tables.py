"""Finished runs side by side."""

import json
from pathlib import Path

import pytest

from inference.cli import main
from inference.runs.result_tables import comparison_table


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


def test_an_unfinished_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["compare", str(tmp_path)]) == 2
    assert f"{tmp_path} has no result.json" in capsys.readouterr().err
    (tmp_path / "result.json").write_text(json.dumps(result(0, 0.01)))
    assert main(["compare", str(tmp_path)]) == 0
    assert "| binary |" in capsys.readouterr().out
