"""A fit over two processes, really started: the steps of one with twice the samples, and noise of each its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("over_processes.py")


@pytest.fixture
def launch(tmp_path):
    def start(name, processes, *, size=50, batch_size=8, quiet=True, norm=False, **options):
        settings = {"name": name, "processes": processes, "size": size, "batch_size": batch_size}
        settings |= {"quiet": quiet, "norm": norm, "out": str(tmp_path), "options": {"epochs": 3, **options}}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        for variable in ("MASTER_PORT", "MASTER_ADDR", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE"):
            environment.pop(variable, None)
        done = subprocess.run(
            [sys.executable, str(PROGRAM), json.dumps(settings)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found = [torch.load(tmp_path / f"{name}.{rank}", weights_only=False) for rank in range(processes)]
        return [SimpleNamespace(**content) for content in found]

    return start


def without_seconds(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.slow
# 50 = 3 * 16 + 2 samples, and 49 leaves a last step with a sample for one of the two only.
@pytest.mark.parametrize("size", [50, 49])
def test_two_processes_take_the_steps_of_one_with_twice_the_samples(launch, size):
    (one,) = launch("one", 1, size=size, batch_size=16)
    two = launch("two", 2, size=size, batch_size=8)
    for rank in two:
        for name, value in rank.state.items():
            torch.testing.assert_close(value, one.state[name], rtol=1e-5, atol=1e-6)
        for row, expected in zip(without_seconds(rank.rows), without_seconds(one.rows), strict=True):
            assert row == pytest.approx(expected, rel=1e-5)
    first, second = ([x for x, _ in rank.seen] for rank in two)
    pairs = zip(first, second, strict=True)
    together = [torch.cat(pair) for pair in pairs]
    whole = [x for x, _ in one.seen]
    for step, (mine, theirs) in enumerate(zip(together, whole, strict=True)):
        if len(theirs) > 1:
            assert torch.equal(mine, theirs), step
    assert "several processes" in two[0].result[3]


@pytest.mark.slow
def test_noise_differs_and_numbers_are_alike(launch):
    first, second = launch("noisy", 2, quiet=False)
    assert first.rows == second.rows
    for name, value in first.state.items():
        assert torch.equal(value, second.state[name]), name
    states = [{bytes(state.numpy()) for _, state in rank.seen} for rank in (first, second)]
    assert not states[0] & states[1]


@pytest.mark.slow
def test_a_checkpoint_of_two_processes_is_resumed_bit_by_bit(launch, tmp_path):
    whole = launch("whole", 2, quiet=False, epochs=4, patience=4)
    launch("begun", 2, quiet=False, epochs=2, patience=4, out=str(tmp_path / "state.pt"))
    rest = launch("rest", 2, quiet=False, epochs=4, patience=4, out=str(tmp_path / "state.pt"), resume=True)
    for rank, expected in zip(rest, whole, strict=True):
        assert without_seconds(rank.rows) == without_seconds(expected.rows)
        assert rank.result == expected.result
        for name, value in rank.state.items():
            assert torch.equal(value, expected.state[name]), name


@pytest.mark.slow
def test_batch_norm_is_warned_of_and_left_alike(launch):
    first, second = launch("norm", 2, norm=True, size=64)
    assert any(
        "batch norm normalises the 8 samples of each of 2 processes" in text for text in first.warnings
    )
    for name, value in first.state.items():
        assert torch.equal(value, second.state[name]), name
