"""What is killed at any moment and goes on, again and again: it ends in the bits of what was left alone."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from inference.studies.attack.attacked_processes import begun, left_behind, workers_of
from inference.studies.attack.attempts import Kind, Silent
from inference.studies.attack.kill_targets import TARGETS, first_difference

__all__ = ["KILLED_WORKERS", "KILLS", "require_same"]

# No target takes so long, unless it waits for something that will not come.
_SECONDS_OF_A_HANG = 600.0
# Workers of a process that was killed end with it; those of Ray once its cluster has noticed.
_SECONDS_TO_END = 60.0


@dataclass
class Prepared:
    """What was left alone, by configuration, and how long each took."""

    folder: Path
    seconds: dict[str, float]

    def whole(self, name: str) -> Path:
        """Folder of what was left alone; it is done when it is first asked for."""
        out = self.folder / name.replace(" ", "-")
        if name not in self.seconds:
            start = time.monotonic()
            end(started(name, out))
            self.seconds[name] = time.monotonic() - start
        return out


def started(name: str, out: Path) -> BaseProcess:
    """Start a process that begins a target, or goes on with it."""
    target = TARGETS[name]
    return begun(target.do, target.settings, out)


def end(process: BaseProcess) -> None:
    """Let a process end, as it must without being killed."""
    process.join(_SECONDS_OF_A_HANG)
    if process.exitcode is None:
        process.kill()
        raise Silent(f"what was resumed has not ended after {_SECONDS_OF_A_HANG:g} s")
    if process.exitcode != 0:
        raise Silent(f"what was resumed ended with {process.exitcode}")


def prepare(folder: Path) -> Prepared:
    """Nothing is done before it is asked for."""
    return Prepared(folder, {})


def attempt(
    generator: random.Random, prepared: Prepared, folder: Path, *, has_workers: bool = False
) -> Counter[str]:
    """Kill a target, or its workers, some times, let it end, and compare."""
    name = generator.choice(sorted(n for n, target in TARGETS.items() if target.has_workers == has_workers))
    whole, out, kills = prepared.whole(name), folder / "run", Counter[str]()
    process, seconds = started(name, out), prepared.seconds[name]
    for _ in range(generator.randint(1, TARGETS[name].most_kills)):
        of_worker = has_workers and generator.random() < 0.6
        if of_worker:
            wait_for_worker(process, seconds)
        process.join(generator.uniform(0.0, 0.8 * seconds))
        what = kill_worker(process, generator) if of_worker else kill(process)
        if what is not None:
            kills += Counter({what: 1, f"in {name}": 1})
        if not process.is_alive():
            process = started(name, out)
    end(process)
    require_same(name, whole, out)
    return kills


def kill(process: BaseProcess) -> str | None:
    """Kill a process by ``SIGKILL``, and say so; None if it had ended before.

    Raises:
        Silent: If a worker of it lives on.
    """
    workers = workers_of(process)
    process.kill()
    process.join()
    left = left_behind(workers, _SECONDS_TO_END)
    if left:
        raise Silent(f"{len(left)} workers live on without the process that started them")
    return "kills" if process.exitcode == -signal.SIGKILL else None


def wait_for_worker(process: BaseProcess, seconds: float) -> None:
    """Wait until a process has a worker, or has ended, so many seconds at most."""
    end = time.monotonic() + seconds
    while process.is_alive() and not workers_of(process) and time.monotonic() < end:
        time.sleep(0.05)


def kill_worker(process: BaseProcess, generator: random.Random) -> str | None:
    """Kill one of the workers of a process, which goes on, and say so; None if it has none."""
    workers = workers_of(process)
    try:
        os.kill(generator.choice(workers), signal.SIGKILL)
    except (IndexError, ProcessLookupError):
        return None
    return "kills of a worker"


def require_same(name: str, whole: Path, out: Path) -> None:
    """Raise unless two folders have the same bits in all but their seconds, and nothing is left behind."""
    left = [path.name for path in out.rglob(".*") if path.name != ".lock"]
    if left:
        raise Silent(f"{name}: {', '.join(left)} left behind")
    difference = first_difference(whole, out)
    if difference is not None:
        raise Silent(f"{name}: {difference} differs after it was killed and resumed")


def attempt_with_workers(generator: random.Random, prepared: Prepared, folder: Path) -> Counter[str]:
    """The same of a target that has workers."""
    return attempt(generator, prepared, folder, has_workers=True)


KILLS = Kind(
    "kills",
    "a fit is killed at any moment and resumed: the same bits as of one that was left alone",
    prepare,
    attempt,
)
KILLED_WORKERS = Kind(
    "killed-workers",
    "a sweep, here or on Ray, or the demo, or one of its workers, is killed: the same bits, and no worker left",
    prepare,
    attempt_with_workers,
)
