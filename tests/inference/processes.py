"""Processes of the command line in tests: started apart, watched, and looked for after a kill."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(*words: str, **options) -> subprocess.Popen:
    """Start ``python -m inference`` in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "inference", *words]
    return subprocess.Popen(command, **{"cwd": ROOT, "env": environment, **pipes, **options})


def until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait for something to be so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so after {seconds:g} s"
        time.sleep(0.05)


def descendants(pid: int) -> set[int]:
    """Processes that a process started, and those that they started (Linux)."""
    found = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found |= {child} | descendants(child)
    return found


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be asked for its exit code does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False
