"""The command line: fixed names, errors in one line, and runs that survive being killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ib_pyro.training.checkpoint import load_checkpoint
from inference.cli import main
from tests.inference.quick_fit import QUICK

ROOT = Path(__file__).parents[3]


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "missing: a subcommand, one of fit, sweep, evaluate"),
        (["fti"], "subcommand 'fti' is unknown; did you mean 'fit'"),
        (["fit"], "missing: --out"),
        (["evaluate"], "missing: run"),
        (["fit", "--out", "OUT", "--beta", "-1"], "--beta must be finite and not negative; got -1.0"),
        (["fit", "--out", "OUT", "--beta", "1", "--beta-paper", "1"], "two units of one number"),
        (["fit", "--out", "OUT", "--beta", "much"], "--beta takes float; got much"),
        (["fit", "--out", "OUT", "--beta", "1", "--batch-size", "x"], "--batch-size takes int; got x"),
        (
            ["fit", "--out", "OUT", "--beta", "1", "--lr-drops", "4,x"],
            "--lr-drops takes epochs such as 40,60",
        ),
        (["fit", "--out", "OUT", "--beta", "1", "--colour", "red"], "unrecognized arguments: --colour red"),
        (
            ["fit", "--out", "OUT", "--beta", "1", "--data", "mnits"],
            "data set 'mnits' is unknown; did you mean 'mnist'",
        ),
        (
            ["fit", "--out", "OUT", "--beta", "1", "--dropout", "binari"],
            "dropout 'binari' is unknown; did you mean 'binary'",
        ),
        (["evaluate", "OUT"], "OUT holds no run"),
        (["demo", "--out", "OUT", "--seeds", "0"], "--seeds must be at least 1"),
        (["bench", "--page"], "--page needs --out"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    out = str(tmp_path / "out")
    assert main([word.replace("OUT", out) for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message.replace("OUT", out) in error
    assert list(tmp_path.iterdir()) == []


def test_traceback_on_request(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run"):
        main(["--traceback", "evaluate", str(tmp_path)])


def test_fit_and_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main([*QUICK, "--epochs", "2", "--lr-drops", "1", "--out", str(out), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "test error, noise off" in printed
    assert "nats per sample" in printed
    before = (out / "result.json").read_bytes()
    assert main(["evaluate", str(out)]) == 0
    assert capsys.readouterr().out == printed
    assert (out / "result.json").read_bytes() == before


def test_settings_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("epochs: 1\nhidden: 4\nlr_drops: []\n")
    out = tmp_path / "run"
    words = ["--config", str(tmp_path / "settings.yaml"), "--beta-paper", "1", "--limit", "100"]
    assert main(["fit", *words, "--out", str(out), "--quiet"]) == 0
    assert len((out / "metrics.csv").read_text().splitlines()) == 2


def test_help_answers_without_torch() -> None:
    code = "import sys, inference.cli as c; c.main(['fit', '--help'])"
    check = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {code}"
    done = subprocess.run(
        python("-c", check), env=environment(), capture_output=True, text=True, timeout=120, check=True
    )
    assert "--beta-paper" in done.stdout
    assert done.stdout.endswith("False\n")


def test_killed_run_resumes_to_the_numbers_of_the_uninterrupted_one(tmp_path: Path) -> None:
    words = [*QUICK, "--epochs", "150", "--quiet", "--out"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    process = subprocess.Popen(python("-m", "inference", *words, str(broken)), env=environment(), cwd=ROOT)
    try:
        deadline = time.monotonic() + 400
        while not (broken / "checkpoint.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (broken / "checkpoint.pt").exists()
    assert not (broken / "result.json").exists()
    finished = len(load_checkpoint(broken / "checkpoint.pt")["history"])
    assert 0 < finished < 150
    assert main([*words, str(broken), "--resume"]) == 0
    assert main([*words, str(whole)]) == 0
    assert [path.name for path in broken.glob(".*")] == [".lock"]
    states = [load_checkpoint(folder / "checkpoint.pt") for folder in (whole, broken)]
    for name, value in states[0]["program"].items():
        assert torch.equal(value, states[1]["program"][name]), name
    histories = [[{**row, "seconds": 0} for row in state["history"]] for state in states]
    assert histories[0] == histories[1]
