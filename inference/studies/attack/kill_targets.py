"""What is killed: fits alone, a fit with a critic that learns, sweeps here and on Ray, and studies of the demo."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ib_pyro.training.checkpoint import load_checkpoint
from inference.json_and_csv import write_json
from inference.runs.folder import RunFolder
from inference.runs.spec import RunSpec

__all__ = ["TARGETS", "Target", "first_difference"]

COMMON = {"epochs": 6, "batch_size": 50, "limit": 200, "threads": 1, "accelerator": "cpu", "num_samples": 2}
CLASSIFIER = {**COMMON, "hidden": 8, "beta_paper": 1.0}
CNN = {"model": "all-cnn-32", "data": "cifar10", "fraction": 1 / 24, "stand_in": True, "beta_paper": 0.5}
FITS: dict[str, dict[str, Any]] = {
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
# Long enough to be met while they go on, beside the start of a worker.
SWEPT = {**COMMON, "hidden": 8, "epochs": 60, "checkpoint_every": 5}
BETAS = (0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Target:
    """Something that goes on where it was stopped.

    Args:
        do: Does it in a folder, or goes on with it: a function of a module, since it runs in a process of its own.
        settings: What ``do`` is called with, before the folder.
        has_workers: Whether it has processes of its own, which may be killed as well as it.
        most_kills: Of one attempt; a sweep gives a run up that has lost four workers.
    """

    do: Callable[[Any, Path], None]
    settings: Any = None
    has_workers: bool = False
    most_kills: int = 3


def fit_alone(settings: Mapping[str, Any], out: Path) -> None:
    """Fit one run."""
    from inference.runs.run import run

    torch.set_num_threads(1)
    run(RunSpec.of(**settings), out, resume=True, progress=False)


def fit_with_critic(epochs: int, out: Path) -> None:
    """Fit a program whose objective has a total correlation that a critic, fitted beside it, estimates."""
    import pyro
    from torch import nn

    from ib_pyro import Bottleneck, InformationBottleneckELBO
    from ib_pyro.elbo import CriticTotalCorrelation
    from ib_pyro.information import DensityRatioCritic, critic_step
    from ib_pyro.nn import InformationDropout
    from ib_pyro.training import fit

    torch.set_num_threads(1)
    pyro.set_rng_seed(0)  # a checkpoint keeps all three generators
    x = torch.rand(200, 6)
    layer = InformationDropout.linear(6, 5, activation="softplus", prior="log-normal", batch_norm=True)
    program, critic = Bottleneck(layer, nn.Linear(5, 2)), DensityRatioCritic(5, hidden=(8,))
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.01)

    def beside(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            (z,) = program.latents(x).values()
        critic_step(critic, optimizer, z)
        return x, y

    found = fit(
        program,
        (x, (x[:, 0] > 0.5).long()),
        elbo=InformationBottleneckELBO(0.01, gamma=0.1, total_correlation=CriticTotalCorrelation(critic)),
        epochs=epochs,
        batch_size=20,
        order=torch.Generator().manual_seed(0),
        transform=beside,
        also={"critic": critic, "critic optimizer": optimizer},
        out=out,
        resume=True,
        progress=False,
    )
    write_json(out / "result.json", {"epochs": len(found.rows)})


def sweep_here(processes: int, out: Path) -> None:
    """Fit three runs in processes of this machine."""
    from inference.runs.pool import run_all

    _require_results(run_all(_jobs(out), processes=processes, console=Console(file=io.StringIO())))


def sweep_on_ray(slots: int, out: Path) -> None:
    """Fit three runs on a small cluster, which begins and ends with the sweep."""
    from inference.runs.pool import run_all
    from inference.runs.ray_cluster import RayCluster

    # A cluster of its own: one that other programs have on this machine is left alone.
    cluster = RayCluster(out, address="local", slots=slots)
    _require_results(run_all(_jobs(out), engine=cluster, console=Console(file=io.StringIO())))


def studies(processes: int, out: Path) -> None:
    """Do two studies of the demo, the one of fits side by side, the other of fits and what they say of images."""
    from inference.studies.demo.study import run_studies
    from inference.studies.demo.typicality import Typicality
    from inference.studies.demo.wrong_labels import WrongLabels

    parts = [kind(out, seeds=1, epochs=1) for kind in (Typicality, WrongLabels)]
    failed = run_studies(parts, processes=processes, console=Console(file=io.StringIO()))
    if failed:
        raise RuntimeError(f"of the demo {failed} failed")


TARGETS: dict[str, Target] = {
    **{name: Target(fit_alone, settings) for name, settings in FITS.items()},
    "critic": Target(fit_with_critic, 20),
    "local workers": Target(sweep_here, 2, has_workers=True),
    "ray workers": Target(sweep_on_ray, 2, has_workers=True),
    "demo": Target(studies, 2, has_workers=True),
}
"""Configurations by name."""


def first_difference(one: Path, other: Path) -> str | None:
    """Say in what two folders differ but for seconds: in a bit of a tensor, a number, a byte of any other file.

    Args:
        one: A folder.
        other: Another one.
    """
    names = [{str(p.relative_to(f)) for p in f.rglob("*") if _is_result(p)} for f in (one, other)]
    if names[0] != names[1]:
        return f"{', '.join(sorted(names[0] ^ names[1]))} there in one alone"
    for name in sorted(names[0]):
        difference = _difference(one / name, other / name)
        if difference is not None:
            return f"{difference} of {name}"
    return None


def _difference(one: Path, other: Path) -> str | None:
    """In what two files of one name differ."""
    if one.name == "checkpoint.pt":
        contents = [load_checkpoint(path) for path in (one, other)]
        for content in contents:
            content["history"] = [{**row, "seconds": 0} for row in content["history"]]
        return _first_unequal(*contents)
    if one.name == "result.json":
        results = [{**(RunFolder(path.parent).result() or {}), "seconds": 0} for path in (one, other)]
        return _first_unequal(*results)
    if one.name in ("config.json", "metrics.csv"):
        return None  # the one has no results, and the other is the checkpoint's history
    return None if one.read_bytes() == other.read_bytes() else "a byte"


def _first_unequal(one: Any, other: Any, name: str = "") -> str | None:  # noqa: ANN401 - what a file holds
    if isinstance(one, Mapping) and isinstance(other, Mapping) and one.keys() == other.keys():
        pairs = [(str(key), one[key], other[key]) for key in one]
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = [(str(place), *pair) for place, pair in enumerate(zip(one, other, strict=True))]
    elif isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return None if torch.equal(one, other) else name
    else:
        return None if one == other else name or "all"
    found = (_first_unequal(a, b, f"{name}.{key}".removeprefix(".")) for key, a, b in pairs)
    return next((difference for difference in found if difference is not None), None)


def _is_result(path: Path) -> bool:
    """Whether a path is a file of which two runs of one thing have the same."""
    return path.is_file() and path.name != ".lock"


def _jobs(out: Path) -> list[tuple[RunSpec, Path]]:
    return [(RunSpec.of(**SWEPT, beta_paper=beta), out / f"beta-{beta:g}") for beta in BETAS]


def _require_results(found: Any) -> None:  # noqa: ANN401 - what `run_all` yields
    outcomes = dict(found)
    failed = [str(outcome) for outcome in outcomes.values() if not isinstance(outcome, dict)]
    if failed or len(outcomes) != len(BETAS):
        raise RuntimeError(f"of {len(outcomes)} runs {len(failed)} failed: {failed}")
