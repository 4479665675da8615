"""Fits that are killed at any moment, resumed and killed again: they end in the bits of one that was left alone."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ib_pyro.training.checkpoint import load_checkpoint
from inference.runs.folder import RunFolder
from inference.runs.spec import RunSpec
from inference.studies.attack.attempts import Kind, Silent

__all__ = ["CONFIGURATIONS", "KILLS"]

COMMON = {"epochs": 6, "batch_size": 50, "limit": 200, "threads": 1, "accelerator": "cpu", "num_samples": 2}
CLASSIFIER = {**COMMON, "hidden": 8, "beta_paper": 1.0}
CNN = {"model": "all-cnn-32", "data": "cifar10", "fraction": 1 / 24, "stand_in": True, "beta_paper": 0.5}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "sgd": CLASSIFIER,
    "adam": {**CLASSIFIER, "optimizer": "adam"},
    "nesterov and decay": {**CLASSIFIER, "nesterov": True, "weight_decay": 1e-3},
    "binary": {**COMMON, "hidden": 8, "dropout": "binary"},
    "gaussian": {**CLASSIFIER, "dropout": "gaussian"},
    "constant": {**COMMON, "hidden": 8, "dropout": "constant"},
    "double precision": {**CLASSIFIER, "precision": "64-true"},
    "mixed precision": {**CLASSIFIER, "precision": "bf16-mixed"},
    "few checkpoints": {**CLASSIFIER, "checkpoint_every": 4},
    "total correlation": {**CLASSIFIER, "gamma": 0.01, "total_correlation": "minibatch-weighted"},
    "cyclical beta": {**CLASSIFIER, "beta_schedule": "cyclical", "beta_period": 3.0},
    "wrong labels": {**CLASSIFIER, "wrong_labels": 0.3},
    "autoencoder": {**COMMON, "model": "vae", "latent": "gaussian", "num_importance_samples": 2},
    "convolutions": {**COMMON, **CNN, "limit": 60, "test_limit": 30, "validation_limit": 0, "epochs": 3},
}
# Kills of one run before it is let go to its end.
MOST_KILLS = 3


@dataclass
class Prepared:
    """Runs that were left alone, by configuration, and how long each took."""

    folder: Path
    seconds: dict[str, float]

    def whole(self, name: str) -> Path:
        """Folder of a run that was left alone; it is fitted when it is first asked for."""
        out = self.folder / name.replace(" ", "-")
        if name not in self.seconds:
            start = time.monotonic()
            end(begun(name, out))
            self.seconds[name] = time.monotonic() - start
        return out


def begun(name: str, out: Path) -> multiprocessing.process.BaseProcess:
    """Start a process that fits, or goes on."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["inference.studies.attack.kills", "inference.runs.run", "models.mlp"])
    process = context.Process(target=fitted, args=(CONFIGURATIONS[name], out))
    process.start()
    return process


def fitted(settings: dict[str, Any], out: Path) -> None:
    """Fit a run in this process, and leave nothing to be cleaned up in it."""
    from inference.runs.run import run

    torch.set_num_threads(1)
    run(RunSpec.of(**settings), out, resume=True, progress=False)


def end(process: multiprocessing.process.BaseProcess) -> None:
    """Let a process end, as it must without being killed."""
    process.join()
    if process.exitcode != 0:
        raise Silent(f"a run that was resumed ended with {process.exitcode}")


def prepare(folder: Path) -> Prepared:
    """Nothing is fitted before it is asked for."""
    return Prepared(folder, {})


def attempt(generator: random.Random, prepared: Prepared, folder: Path) -> Counter[str]:
    """Kill a run up to ``MOST_KILLS`` times, let it end, and compare."""
    name = generator.choice(sorted(CONFIGURATIONS))
    whole, out, outcomes = prepared.whole(name), folder / "run", Counter[str]()
    for _ in range(generator.randint(1, MOST_KILLS)):
        process = begun(name, out)
        process.join(generator.uniform(0.0, prepared.seconds[name]))
        process.kill()
        process.join()
        outcomes["kills" if process.exitcode == -9 else "ended before"] += 1
    end(begun(name, out))
    require_same(name, whole, out)
    return outcomes + Counter({f"of {name}": 1})


def require_same(name: str, whole: Path, out: Path) -> None:
    """Raise unless two runs have the same bits in all but their seconds."""
    there, here = (load_checkpoint(folder / "checkpoint.pt") for folder in (whole, out))
    for key, value in there["program"].items():
        if not torch.equal(value, here["program"][key]):
            raise Silent(f"{name}: {key} differs after it was killed and resumed")
    rows = [[{**row, "seconds": 0} for row in content["history"]] for content in (there, here)]
    results = [{**(RunFolder(folder).result() or {}), "seconds": 0} for folder in (whole, out)]
    if rows[0] != rows[1] or results[0] != results[1]:
        raise Silent(f"{name}: metrics or result differ after it was killed and resumed")
    left = [path.name for path in out.glob(".*") if path.name != ".lock"]
    if left:
        raise Silent(f"{name}: {', '.join(left)} left behind")


KILLS = Kind(
    "kills",
    "a fit is killed at any moment and resumed: the same bits as of one that was left alone",
    prepare,
    attempt,
)
