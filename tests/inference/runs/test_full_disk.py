"""A disk that is full ends a run with a line that names the file, and once there is room the run goes on."""

import os
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from inference.cli import main
from tests.inference.quick_fit import QUICK

ROOT = Path(__file__).parents[3]
WORDS = [*QUICK, "--quiet", "--epochs", "3", "--accelerator", "cpu"]


def with_room_for(size: int, words: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command whose files may have so many bytes at most, as on a disk with so many left."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))
    command = [sys.executable, "-m", "inference", *words]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        preexec_fn=limit,  # noqa: PLW1509 - it starts no thread before
        check=False,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("disk") / "whole"
    assert main([*WORDS, "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize(
    ("size", "file"),
    [
        pytest.param(
            1000,
            "config.json",
            marks=pytest.mark.skipif(
                tuple(map(int, torch.__version__.split(".")[:2])) < (2, 10),
                reason="PyTorch itself wrote a larger file at its import",
            ),
        ),
        (6000, "checkpoint.pt"),
    ],
)
def test_a_full_disk_is_one_line_and_the_run_goes_on(
    size: int, file: str, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = [*WORDS, "--out", str(out)]
    done = with_room_for(size, words)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line == f"error: [Errno 27] File too large: '{out / file}'; make room there, and do it again"
    assert not list(out.glob(".*partial*"))
    assert main([*words, "--resume"]) == 0
    there, here = (torch.load(folder / "checkpoint.pt")["program"] for folder in (whole, out))
    for name, value in there.items():
        assert torch.equal(value, here[name]), name
