"""Two processes never write one folder."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inference import evaluate_run
from inference.json_and_csv import read_json
from inference.runs import run as run_module
from inference.runs.folder import RunFolder
from inference.runs.run_lock import held, tidy

ROOT = Path(__file__).parents[3]
Quick = Callable[..., Any]


def start(out: Path, *words: str) -> "subprocess.Popen[str]":
    options = ["--hidden", "8", "--beta-paper", "1", "--limit", "200", "--accelerator", "cpu", "--quiet"]
    command = [sys.executable, "-m", "inference", "fit", "--out", str(out), *options, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE)


@pytest.fixture
def running(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A long fit of another process, which has begun."""
    process = start(tmp_path / "run", "--epochs", "20000", "--threads", "1", "--batch-size", "50")
    deadline = time.monotonic() + 300
    while not (tmp_path / "run" / "checkpoint.pt").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    yield process
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_the_folder_of_a_run_that_is_being_fitted_is_refused_and_free_once_it_was_killed(
    running: "subprocess.Popen[str]", quick: Quick, tmp_path: Path
) -> None:
    job = quick(out=tmp_path / "run", epochs=20_000)
    holder = rf"being written by process {running.pid} on {socket.gethostname()}, since 20"
    with pytest.raises(ValueError, match=holder):
        job.run(resume=True)
    with pytest.raises(ValueError, match=holder):
        evaluate_run(job.out)
    running.send_signal(signal.SIGKILL)
    running.wait()
    with RunFolder(job.out).held():
        assert read_json(job.out / ".holder.json")["pid"] == os.getpid()
    assert not (job.out / ".holder.json").exists()


def test_of_two_that_begin_at_once_one_has_the_folder_to_itself(tmp_path: Path) -> None:
    out = tmp_path / "run"
    rates = ("0.05", "0.06")
    processes = {lr: start(out, "--epochs", "2", "--lr", lr, "--batch-size", "50") for lr in rates}
    ends = {
        lr: (process.communicate(timeout=300)[1], process.returncode) for lr, process in processes.items()
    }
    winners = [lr for lr, (_, code) in ends.items() if code == 0]
    assert len(winners) == 1, ends
    (loser,) = set(rates) - set(winners)
    error, code = ends[loser]
    assert code == 2
    assert "error: " in error
    assert "another run" in error or "is being written by" in error
    spec = RunFolder(out).spec()
    assert spec.training.lr == float(winners[0])
    assert read_json(out / "result.json")["digest"] == spec.digest
    evaluate_run(out)


def test_one_process_does_not_hold_a_folder_twice(tmp_path: Path) -> None:
    with (
        held(tmp_path),
        pytest.raises(ValueError, match=f"being written by process {os.getpid()}"),
        held(tmp_path),
    ):
        pass
    with held(tmp_path):
        pass


def test_a_run_that_another_process_finished_in_the_meantime_is_not_fitted_again(
    quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, prepare = quick(epochs=1), run_module.prepare

    def slowly(*arguments: Any, **options: Any) -> Any:
        prepared = prepare(*arguments, **options)
        with monkeypatch.context() as patch:
            patch.setattr(run_module, "prepare", prepare)
            job.run()
        return prepared

    monkeypatch.setattr(run_module, "prepare", slowly)
    result = job.run(resume=True)
    assert result == read_json(job.out / "result.json")


def test_a_run_that_another_process_began_in_the_meantime_is_refused_without_resume(
    quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, other, prepare = quick(epochs=1), quick(epochs=1, lr=0.2), run_module.prepare

    def slowly(*arguments: Any, **options: Any) -> Any:
        prepared = prepare(*arguments, **options)
        with monkeypatch.context() as patch:
            patch.setattr(run_module, "prepare", prepare)
            other.run()
        return prepared

    monkeypatch.setattr(run_module, "prepare", slowly)
    with pytest.raises(ValueError, match="already holds another run"):
        job.run()
    assert RunFolder(job.out).spec() == other.spec
    assert read_json(job.out / "result.json")["digest"] == other.spec.digest


def test_what_a_killed_process_has_left_of_its_hold_goes_away_once_nobody_holds(
    quick: Quick, tmp_path: Path
) -> None:
    job = quick(out=tmp_path / "run", epochs=1)
    job.run()
    left = job.out / ".holder.json"
    left.write_text("{}")
    job.run(resume=True)
    assert not left.exists()
    with held(job.out):
        tidy(job.out)
        assert read_json(left)["pid"] == os.getpid()
    tidy(tmp_path / "nothing")
