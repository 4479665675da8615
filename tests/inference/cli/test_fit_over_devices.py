"""``fit --devices 2``: processes that are really started, one folder, and an evaluation on one device."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference import run
from inference.cli.main import main
from inference.runs.training_spec import TrainingSpec

ROOT = Path(__file__).parents[3]
WORDS = "--data digits --limit 301 --hidden 8 --beta 0.01 --accelerator cpu --batch-norm false --quiet --threads 1"


def start(*words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "inference", *words]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=300, cwd=ROOT
    )


@pytest.mark.slow
def test_one_folder_of_two_processes_which_is_resumed_and_evaluated(tmp_path):
    out = tmp_path / "run"
    words = [
        "fit",
        *WORDS.split(),
        "--epochs",
        "2",
        "--batch-size",
        "25",
        "--devices",
        "2",
        "--strategy",
        "ddp",
    ]
    done = start(*words, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("written to") == 1
    assert len((out / "metrics.csv").read_text().splitlines()) == 3
    result = json.loads((out / "result.json").read_text())
    assert result["epochs"] == 2
    again = start(*words, "--out", str(out), "--resume")
    assert again.returncode == 0, again.stderr
    assert start(*words, "--out", str(out)).returncode == 2
    assert main(["evaluate", str(out)]) == 0
    assert json.loads((out / "result.json").read_text()) == result


def test_only_the_command_line_starts_processes(quick):
    job = quick(devices=2)
    with pytest.raises(ValueError, match=r"--devices 2.*`python -m inference fit` alone"):
        run(job.spec, job.out, progress=False)
    assert not job.out.exists()


def test_numbers_of_devices_are_checked():
    with pytest.raises(ValueError, match="--devices must be at least 1; got 0"):
        TrainingSpec(devices=0)
    with pytest.raises(ValueError, match="--num-nodes must be at least 1; got 0"):
        TrainingSpec(num_nodes=0)
    assert TrainingSpec(devices=2, num_nodes=3).processes == 6
    assert not TrainingSpec().is_spread
