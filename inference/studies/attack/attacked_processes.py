"""Processes that are attacked: each started apart from this one, with the workers that it starts itself."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

__all__ = ["begun", "left_behind", "lives", "workers_of"]

# What the command line of a worker says: one of this machine, and one of Ray, named after what it works on.
_WORKERS = (b"spawn_main", b"_on_a_node")
_PRELOADED = ["inference.studies.attack.kill_targets", "inference.runs.run", "models.mlp"]


def begun(call: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a process that calls a function of a module.

    Args:
        call: The function.
        *arguments: What it is called with.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    process = context.Process(target=call, args=arguments)
    process.start()
    return process


def workers_of(process: BaseProcess) -> list[int]:
    """Process numbers of the workers that a process, or one of its children, has started; none but on Linux."""
    return [pid for pid in _descendants(process.pid or 0) if any(mark in _command(pid) for mark in _WORKERS)]


def left_behind(workers: list[int], seconds: float) -> list[int]:
    """Those of some processes that live on after some seconds."""
    end = time.monotonic() + seconds
    while (left := [pid for pid in workers if lives(pid)]) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be asked for its exit code does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in children:
            found += [child, *_descendants(child)]
    return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
