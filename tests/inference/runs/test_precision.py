"""A run has its precision everywhere: in the fit, in what is evaluated of it then and later, and when it is loaded."""

import json
from pathlib import Path

import pytest
import torch

from inference.runs.run import evaluate_run, load_run, run
from inference.runs.spec import RunSpec

TYPES = {
    "64-true": torch.float64,
    "bf16-true": torch.bfloat16,
    "bf16-mixed": torch.float32,
    "32-true": torch.float32,
}
MODELS = {"mlp": {"beta_paper": 1.0}, "vae": {"beta": 1.0}}


def spec_of(model: str, precision: str) -> RunSpec:
    options = {"epochs": 2, "limit": 300, "precision": precision, "accelerator": "cpu", "lr": 1e-3}
    return RunSpec.of(model=model, **MODELS[model], **options)


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize("model", MODELS)
def test_evaluated_again_it_has_the_same_numbers(tmp_path: Path, model: str, precision: str) -> None:
    result = run(spec_of(model, precision), tmp_path / "run", progress=False)
    text = (tmp_path / "run" / "result.json").read_text()
    assert evaluate_run(tmp_path / "run") == result
    assert (tmp_path / "run" / "result.json").read_text() == text
    program, splits = load_run(tmp_path / "run")
    assert {p.dtype for p in program.parameters()} == {TYPES[precision]}
    assert splits.train.x.dtype == torch.float32


@pytest.mark.parametrize("model", MODELS)
def test_the_bound_and_the_errors_hardly_depend_on_it(tmp_path: Path, model: str) -> None:
    """What single and double precision say of the same weights is the same to the digits of single precision."""
    results = {}
    for precision in ("32-true", "64-true"):
        results[precision] = run(spec_of(model, precision), tmp_path / precision, progress=False)
    for name in ("distortion", "rate"):
        single, double = (results[p][name] for p in results)
        assert json.dumps(single) != json.dumps(double)
        assert single == pytest.approx(double, rel=0.05)
