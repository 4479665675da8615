"""A signal that ends the process leaves all finished epochs and the command that goes on with them."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ib_pyro.training.checkpoint import load_checkpoint
from inference.cli import main
from inference.cli.signals import Interrupted, command_to_go_on, signals_interrupt
from tests.inference.quick_fit import QUICK

ROOT = Path(__file__).parents[3]
EPOCHS = 150
WORDS = [*QUICK, "--quiet", "--epochs", str(EPOCHS), "--accelerator", "cpu"]
SIGNALS = [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)]
# Epochs between two checkpoints: after each one, and never.
ENDS = [(*each, EPOCHS) for each in SIGNALS] + [("SIGTERM", 143, 1)]


def start(words: list[str]) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "inference", *words]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE, preexec_fn=listen
    )


def listen() -> None:
    """Take signals as they come by default: what a shell starts in the background is deaf to SIGINT."""
    for name, _ in SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_DFL)


def wait_for(path: Path, process: "subprocess.Popen[str]", *, lines: int = 0) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and len(path.read_bytes().splitlines()) >= lines:
            return
        time.sleep(0.005)
    raise AssertionError(f"no {path}: {process.communicate()[1]}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, uninterrupted."""
    out = tmp_path_factory.mktemp("signals") / "whole"
    assert main([*WORDS, "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize(("name", "code", "every"), ENDS)
def test_a_signal_loses_no_finished_epoch(
    name: str, code: int, every: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder whose name a shell would take apart.
    out = tmp_path / "my run"
    words = [*WORDS, "--out", str(out)]
    if every > 1:
        words += ["--checkpoint-every", str(every)]
    process = start(words)
    wait_for(out / "metrics.csv", process, lines=6)
    process.send_signal(getattr(signal, name))
    error = process.communicate(timeout=300)[1]
    assert process.returncode == code, error
    *_, line = error.splitlines()
    assert line.startswith(
        f"interrupted by {name}; what was finished is kept; go on with: python -m inference fit"
    )
    rows = len((out / "metrics.csv").read_text().splitlines()) - 1
    history = load_checkpoint(out / "checkpoint.pt")["history"]
    assert rows <= len(history) < EPOCHS
    assert not list(out.glob(".*partial*"))
    _, _, command = line.partition("go on with: python -m inference ")
    assert main(shlex.split(command)) == 0
    states = [load_checkpoint(folder / "checkpoint.pt")["program"] for folder in (whole, out)]
    for parameter, value in states[0].items():
        assert torch.equal(value, states[1][parameter]), parameter


@pytest.mark.parametrize("delay", [0.3, 1.0, 2.5])
def test_a_signal_while_a_run_begins_leaves_what_can_be_resumed(delay: float, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [*WORDS, "--epochs", "2", "--out", str(out)]
    process = start(words)
    time.sleep(delay)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=300)[1]
    assert process.returncode in (0, 143, -signal.SIGTERM), error
    assert main([*words, "--resume"]) == 0
    assert (out / "result.json").exists()


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    words = [*WORDS, "--epochs", "60", "--out", str(tmp_path / "run")]
    command = shlex.join([sys.executable, "-m", "inference", *words])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # As nohup does.
    shell = ["sh", "-c", f"trap '' HUP; exec {command}"]
    process = subprocess.Popen(shell, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE)
    wait_for(tmp_path / "run" / "metrics.csv", process)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=300)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["fit", "--out", "a", "--resume"], "go on with: python -m inference fit --out a --resume"),
        (["sweep", "--out", "a"], "go on with: python -m inference sweep --out a"),
        (["evaluate", "a"], "start again with: python -m inference evaluate a"),
    ],
)
def test_the_command_that_goes_on_is_the_same_but_for_resume(words: list[str], told: str) -> None:
    assert command_to_go_on(words) == told


def test_handlers_are_left_as_they_were() -> None:
    numbers = [getattr(signal, name) for name, _ in SIGNALS]
    before = [signal.getsignal(number) for number in numbers]
    assert main([]) == 2
    assert [signal.getsignal(number) for number in numbers] == before


def test_an_interruption_that_a_library_makes_another_error_of_stays_one() -> None:
    def import_cut_short() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise AttributeError("partially initialized module") from None

    with pytest.raises(Interrupted) as found, signals_interrupt():
        import_cut_short()
    assert found.value.number == signal.SIGTERM
    with pytest.raises(AttributeError), signals_interrupt():
        raise AttributeError("without a signal")
