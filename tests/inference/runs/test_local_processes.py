"""Workers of this machine: a lost one costs its own work alone, and all end with their parent."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from inference.json_and_csv import read_json
from inference.runs import pool
from inference.runs.engine import InThisProcess, WorkerLost
from inference.runs.pool import in_turn
from tests.inference.processes import ROOT, descendants, lives, start, until

SWEEP = "sweep --data digits --hidden 8 --limit 200 --accelerator cpu --seeds 0,1,2 --betas 0.1".split()
LONG = {
    "sweep": [*SWEEP, "--epochs", "100000", "--processes", "2"],
    "demo": ["demo", "--epochs", "100000", "--processes", "2"],
    "paper": ["paper", "fig6", "--preset", "smoke", "--jobs", "2"],
}
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in Linux's /proc")

# Work that any process knows: expressions, for `eval`.
THREADS = "__import__('torch').get_num_threads()"
PID = "__import__('os').getpid()"
DIE = f"__import__('os').kill({PID}, 9)"
DIE_ONCE = "[open({0!r}, 'a').write('.'), len(open({0!r}).read()) > 1 or " + DIE + ", 7][-1]"
SIGNAL_OF_THE_PARENTS_DEATH = (
    "(lambda c, found: (c.CDLL(None).prctl(2, c.byref(found)), found.value)[1])"
    "(__import__('ctypes'), __import__('ctypes').c_int())"
)


def test_a_lost_worker_costs_its_own_work_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "ATTEMPTS", 2)
    tries, told = tmp_path / "tries", []
    items = [DIE_ONCE.format(str(tries)), DIE, THREADS, "1 + 1", "2 + 2"]
    found = dict(
        in_turn(
            eval,
            items,
            processes=2,
            retrying=lambda item, _, again: told.append((item, again)),
            given_up=lambda _, lost: str(lost),
        )
    )
    assert [found[item] for item in items] == [7, "its process ended, killed or out of memory", 1, 2, 4]
    assert sorted(told) == sorted((item, 2) for item in items[:2])
    assert tries.read_text() == ".."


def test_what_cannot_be_done_is_raised_and_what_runs_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_turn(eval, ["__import__('time').sleep(600)", "1 / 0"], processes=2))
    monkeypatch.setattr(pool, "ATTEMPTS", 1)
    with pytest.raises(WorkerLost):
        list(in_turn(eval, ["__import__('time').sleep(600)", DIE], processes=2))


def test_workers_stay_for_several_pieces_of_work() -> None:
    pids = {pid for _, pid in in_turn(eval, [PID + " " * i for i in range(6)], processes=2)}
    assert len(pids) <= 2
    assert os.getpid() not in pids


def test_the_last_of_several_has_as_many_threads_as_they_had() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        [(_, threads)] = in_turn(eval, [THREADS], processes=2)
        [(_, alone)] = in_turn(eval, [THREADS], processes=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert (threads, alone) == (1, 2)
    assert InThisProcess().submit(eval, "5").result() == 5


@linux
@pytest.mark.parametrize(
    "command", ["sweep", *(pytest.param(name, marks=pytest.mark.slow) for name in ("demo", "paper"))]
)
def test_a_kill_of_the_parent_leaves_no_worker(command: str, tmp_path: Path) -> None:
    parent = start(*LONG[command], "--out", str(tmp_path / "out"))
    try:
        if command == "demo":
            # Its long fits keep nothing before their end: two workers, and what counts their resources.
            until(lambda: len(descendants(parent.pid)) >= 3)
        else:
            until(lambda: list(tmp_path.glob("out/**/checkpoint.pt")))
        workers = descendants(parent.pid)
        assert len(workers) >= 2
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        until(lambda: not any(map(lives, workers)), seconds=10)
    finally:
        parent.kill()
        parent.communicate()


@linux
@pytest.mark.parametrize(("where", "number"), [("main", 9), ("other", 0)])
def test_the_kernel_ends_workers_of_the_main_thread_and_a_pipe_all(where: str, number: int) -> None:
    script = (
        "import sys, threading\n"
        "from inference.runs.pool import in_turn\n"
        "def work():\n"
        f"    items = [{SIGNAL_OF_THE_PARENTS_DEATH!r} + end for end in ('', ' ')]\n"
        "    for _, number in in_turn(eval, items, processes=2):\n"
        "        print(number, flush=True)\n"
        "        __import__('time').sleep(600)\n"
        "thread = threading.Thread(target=work)\n"
        "if sys.argv[1] == 'main':\n"
        "    work()\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    command = [sys.executable, "-c", script, where]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == f"{number}\n"
        workers = descendants(parent.pid)
        assert len(workers) >= 2
        parent.kill()
        parent.wait()
        until(lambda: not any(map(lives, workers)), seconds=10)
    finally:
        parent.kill()
        parent.communicate()


@linux
def test_a_signal_to_the_parent_ends_its_workers_and_the_same_command_goes_on(tmp_path: Path) -> None:
    words = [*SWEEP, "--epochs", "150", "--processes", "2", "--out"]
    out, whole = tmp_path / "my sweep", tmp_path / "whole"
    parent = start(*words, str(out))
    try:
        until(lambda: list(out.glob("*/checkpoint.pt")) or parent.poll() is not None)
        workers = descendants(parent.pid)
        parent.send_signal(signal.SIGTERM)
        _, errors = parent.communicate(timeout=120)
    finally:
        parent.kill()
    assert parent.returncode == 143, errors
    assert len(workers) >= 2
    until(lambda: not any(map(lives, workers)), seconds=10)
    line = errors.splitlines()[-1]
    assert line.startswith(
        "interrupted by SIGTERM; what was finished is kept; go on with: python -m inference sweep"
    )
    assert len(list(out.glob("*/result.json"))) < 3
    command = shlex.split(line.partition("go on with: python -m inference ")[2])
    for each in (command, [*words, str(whole)]):
        again = start(*each)
        _, errors = again.communicate(timeout=300)
        assert again.returncode == 0, errors
    for result in whole.glob("*/result.json"):
        found = read_json(out / result.parent.name / result.name)
        assert {**found, "seconds": 0} == {**read_json(result), "seconds": 0}
    assert not [path for path in out.glob("*/.*") if path.name != ".lock"]
