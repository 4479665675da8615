"""Sweeps on a real Ray cluster of two nodes: one is killed, and the results are those of this machine alone."""

import csv
import importlib.util
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.cli.main import main
from inference.json_and_csv import read_json
from inference.runs.ray_nodes import Token, refusals
from tests.inference.processes import ROOT, descendants, lives, start, until

ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'ib-pyro[sweep]'"
)
GRID = "sweep --data digits --hidden 8 --limit 200 --accelerator cpu --seeds 0,1 --betas 0.001,0.01 --epochs".split()


@pytest.fixture(scope="module")
def cluster() -> Iterator[subprocess.Popen]:
    """Two nodes with a processor each; a line on the standard input kills the second."""
    command = [sys.executable, str(Path(__file__).parent / "two_nodes.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as nodes:
        nodes.address = nodes.stdout.readline().strip()
        assert nodes.address, "the cluster did not begin"
        yield nodes
        nodes.stdin.close()
        nodes.wait(60)


def finished(out: Path) -> dict[str, Path]:
    return {path.parent.name: path for path in out.glob("*/result.json")}


def under_way(out: Path) -> set[str]:
    return {path.parent.name for path in out.glob("*/checkpoint.pt")} - set(finished(out))


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes() if lives(pid) else b""


def numbers(out: Path) -> dict[str, tuple[dict, list]]:
    """What each run found, and its metrics, but for the time that they took."""
    found = {}
    for name, path in finished(out).items():
        result = {key: value for key, value in read_json(path).items() if key not in ("seconds", "checksum")}
        with (path.parent / "metrics.csv").open() as file:
            rows = [
                {key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)
            ]
        found[name] = (result, rows)
    return found


@ray
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a path that differs from process to process is Linux's")
def test_a_machine_that_does_not_see_the_folder_is_refused_by_name(cluster, tmp_path: Path) -> None:
    # The folder of whoever looks: here the test's, on the nodes the one that they were started in.
    sweep = start(
        *GRID,
        "1",
        "--engine",
        "ray",
        "--address",
        cluster.address,
        "--out",
        "/proc/self/cwd/out",
        cwd=tmp_path,
    )
    _, errors = sweep.communicate(timeout=200)
    assert sweep.returncode == 2, errors
    assert errors.count("does not see /proc/self/cwd/out") == 2
    assert "on a file system that all machines share" in errors
    assert not list((tmp_path / "out").iterdir())


@ray
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in Linux's /proc")
def test_a_kill_of_the_sweep_leaves_no_worker_on_the_cluster(cluster, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sweep = start(*GRID, "100000", "--engine", "ray", "--address", cluster.address, "--out", str(out))
    before = descendants(cluster.pid)
    try:
        until(lambda: len(under_way(out)) == 2)
        # Ray names a worker after the task that it works on.
        workers = {pid for pid in descendants(cluster.pid) - before if b"_on_a_node" in command_of(pid)}
        assert len(workers) == 2
        sweep.send_signal(signal.SIGKILL)
        sweep.wait()
        until(lambda: not any(map(lives, workers)), seconds=60)
    finally:
        sweep.kill()
        sweep.communicate()


MINE = """
import time
from pathlib import Path

import torch
from torch import nn
from ib_pyro import Bottleneck
from ib_pyro.nn import InformationDropout
from mine_parts import width

def build(image_shape, num_classes):
    return Bottleneck(InformationDropout.linear(image_shape[0], width), nn.Linear(width, num_classes))

class Slow(nn.Module):
    # Takes its time while a file is there, and has no part in the numbers.
    def forward(self, x):
        if Path(__file__).with_name("slow").exists():
            time.sleep(0.5)
        return x

def build_slow(image_shape, num_classes):
    program = build(image_shape, num_classes)
    program.encoder = nn.Sequential(Slow(), program.encoder)
    return program

def load():
    x = torch.linspace(-1, 1, 60)[:, None]
    return {"train": (x, (x[:, 0] > 0).long()), "test": (x, (x[:, 0] > 0).long())}
"""


def write_mine(folder: Path) -> Path:
    """Write a program and data of one's own, and return the module's file."""
    (folder / "mine_parts.py").write_text("width = 4\n")
    file = folder / "mine.py"
    file.write_text(MINE)
    return file


def end_of(process: subprocess.Popen) -> tuple[str, str]:
    """Return what a process that succeeds prints, and says."""
    try:
        table, errors = process.communicate(timeout=300)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, errors
    return table, errors


@ray
@pytest.mark.slow
def test_modules_of_ones_own_are_found_by_workers_that_began_elsewhere(cluster, tmp_path: Path) -> None:
    write_mine(tmp_path)
    words = "sweep --model mine:build --data mine:load --batch-size 20 --beta 0.01 --epochs 1".split()
    words += [
        "--accelerator",
        "cpu",
        "--seeds",
        "0,1",
        "--engine",
        "ray",
        "--address",
        cluster.address,
        "--out",
        str(tmp_path / "out"),
    ]
    table, _ = end_of(start(*words, cwd=tmp_path))
    assert "| mine:build, mine:load |" in table
    (config, _) = (read_json(path) for path in (tmp_path / "out").glob("*/config.json"))
    assert set(config["sources"]["model"]["files"]) == {"mine.py", "mine_parts.py"}


@ray
@pytest.mark.slow
def test_runs_of_a_killed_node_go_on_elsewhere_with_the_same_numbers(cluster, tmp_path: Path) -> None:
    slow = write_mine(tmp_path).with_name("slow")
    words = (
        "sweep --model mine:build_slow --data mine:load --batch-size 20 --epochs 40 --accelerator cpu".split()
    )
    words += ["--capture", "off", "--betas", "0.001,0.01"]

    def finish(*more: str) -> tuple[str, str]:
        return end_of(start(*words, *more, cwd=tmp_path))

    finish("--seeds", "0,1", "--processes", "2", "--out", "local")
    out = tmp_path / "ray"
    finish("--seeds", "0", "--betas", "0.001", "--out", str(out))
    before = {path: path.stat().st_mtime_ns for path in finished(out).values()}
    assert len(before) == 1
    slow.touch()
    sweep = start(
        *words,
        *("--seeds", "0,1", "--engine", "ray", "--address", cluster.address, "--out", str(out)),
        cwd=tmp_path,
    )
    try:
        until(lambda: len(under_way(out)) == 2)
        cluster.stdin.write("kill\n")
        cluster.stdin.flush()
        assert cluster.stdout.readline() == "killed\n"
    finally:
        slow.unlink()
        table, errors = end_of(sweep)
    assert "attempt 2 of 4 goes on from its last checkpoint" in errors
    assert "4 of 4 runs done" in errors
    assert table.count("mine:build_slow, mine:load") == 2
    assert len(finished(out)) == 4
    assert numbers(out) == numbers(tmp_path / "local")
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert not list(out.glob(".shared-*"))
    every = {path: path.stat().st_mtime_ns for path in finished(out).values()}
    assert finish("--seeds", "0,1", "--out", str(out))[0] == table
    assert every == {path: path.stat().st_mtime_ns for path in every}


def test_machines_with_other_code_or_versions_are_refused_by_name() -> None:
    mine = {"torch": "2.14.1", "numpy": "2.4.0", "lightning": None, "commit": "abc"}
    reports = {
        "good": {"unseen": [], "has": dict(mine)},
        "other": {"unseen": [], "has": {**mine, "torch": "2.13.0", "commit": "def"}},
        "without git": {"unseen": [], "has": {**mine, "commit": None, "lightning": "2.5"}},
        "blind": {"unseen": ["/data"], "has": dict(mine)},
        "silent": {"error": "did not answer"},
    }
    other, blind, silent = refusals(reports, mine)
    assert other.startswith("machine other has torch 2.13.0 for 2.14.1, commit def for abc here")
    assert blind.startswith("machine blind does not see /data")
    assert silent == "machine silent did not answer"


def test_a_token_is_seen_in_its_folder_alone_and_taken_away(tmp_path: Path) -> None:
    token = Token.write(tmp_path / "sweep")
    token.require()
    token.answer_file("node").write_text(token.word)
    with pytest.raises(ValueError, match="does not see .*elsewhere"):
        Token(tmp_path / "elsewhere", token.word).require()
    token.remove()
    assert not list((tmp_path / "sweep").iterdir())


def test_a_new_token_takes_away_those_of_processes_that_are_no_more(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, lives_on = (
        f"{number * 32}-{pid}@{platform.node()}" for number, pid in (("0", ended.pid), ("1", os.getpid()))
    )
    elsewhere = f"{'2' * 32}-{ended.pid}@another.machine"
    for word in (dead, lives_on, elsewhere):
        token = Token(tmp_path, word)
        token.file.touch()
        token.answer_file("node").touch()
    token = Token.write(tmp_path)
    left = {file.name for file in tmp_path.iterdir()} - {token.file.name}
    assert left == {f".shared-{word}{end}" for word in (lives_on, elsewhere) for end in ("", "=node")}


@ray
@pytest.mark.parametrize(
    ("address", "message"),
    [("127.0.0.1:1", "no cluster there"), ("nowhere", "no cluster there"), ("ray://h:10001", "Ray's client")],
)
def test_addresses_without_a_cluster_are_refused_at_once(
    address: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*GRID, "1", "--engine", "ray", "--address", address, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_without_ray_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([*GRID, "1", "--engine", "ray", "--out", str(tmp_path)]) == 2
    assert "pip install 'ib-pyro[sweep]'" in capsys.readouterr().err
