"""What the runs of a figure cost on this machine, from a few steps of each kind."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ib_pyro.capture import CaptureError
from ib_pyro.training.loop import TrainingLoop
from ib_pyro.training.sources import source_of
from inference.runs.run import prepare
from inference.runs.spec import RunSpec
from inference.studies.paper.figure import Figure
from inference.studies.paper.plan import Planned
from inference.studies.paper.statistics import common_row

__all__ = ["Kind", "kinds_of", "measure_steps", "whole_plan"]

_STEPS, _WARM_UP, _PASSES = 4, 3, 5
# Splits of the whole set, where a figure fits all of it.
_WHOLE = {"cifar10": 50_000, "occluded-cifar": 50_000, "mnist": 60_000, "cluttered-mnist": 50_000}
# A result that lets a plan go on to the runs that follow from it: which strength is chosen changes no cost.
_PRETENDED = {
    f"{split}_error_{noise}": 0.5 for split in ("validation", "test") for noise in ("noisy", "deterministic")
}


@dataclass(frozen=True)
class Kind:
    """Runs whose steps cost the same.

    Args:
        spec: One of them.
        runs: How many there are.
        images: Images that they see in all epochs, all runs together.
    """

    spec: RunSpec
    runs: int
    images: int

    @property
    def words(self) -> str:
        """What they are, for a table."""
        program = self.spec.program
        return f"{program.model} {program.size:.4g}, {program.noise}, {self.spec.data.data}"

    def hours(self, milliseconds: float) -> float:
        """Hours of all of them, at so many milliseconds an image."""
        return self.images * milliseconds / 3.6e6


def whole_plan(shown: Figure, preset: str, *, precision: str | None = None) -> list[Planned]:
    """All runs of a figure, those too that follow from the results of others.

    Args:
        shown: The figure.
        preset: One of its presets.
        precision: Precision of the arithmetic, if not that of its runs.
    """
    found: dict[str, Planned] = {}
    while True:
        rows = [
            {**each.labels, **common_row(each.spec, _PRETENDED), **each.labels} for each in found.values()
        ]
        plan = shown.plan(preset, pd.DataFrame(rows), precision=precision)
        new = {each.key: each for each in plan if each.key not in found}
        if not new:
            return list(found.values())
        found |= new


def kinds_of(plan: Sequence[Planned]) -> list[Kind]:
    """Gather the runs whose steps cost the same; a run that two need counts once."""
    groups: dict[tuple[Any, ...], list[RunSpec]] = {}
    for spec in {each.spec.name: each.spec for each in plan}.values():
        program, data, training = spec.program, spec.data, spec.training
        key = (program.model, program.size, program.noise, data.data, training.batch_size, training.precision)
        groups.setdefault(key, []).append(spec)
    return [Kind(specs[0], len(specs), sum(_images(spec) for spec in specs)) for specs in groups.values()]


def measure_steps(spec: RunSpec) -> float:
    """Take a few steps of a run on stand-ins of its images; nothing is written.

    Returns:
        Milliseconds an image, of wall-clock time: the least of some passes over a few batches, after some more.
    """
    batch = spec.training.batch_size
    # At a rate so small that no step leads anywhere, and none astray.
    tried = spec.but(
        stand_in=True, limit=_STEPS * batch, test_limit=1, validation_limit=0, data_root=None, lr=1e-9
    )
    with tried.training.ambience():
        try:
            return _timed(tried, "on")
        except CaptureError:
            return _timed(tried, "off")


def _timed(spec: RunSpec, capture: str) -> float:
    prepared = prepare(spec, Path("."))
    train = prepared.splits.train
    optimizer, _ = spec.training.build(prepared.program, train.x, beta=0.0)
    order, device = partial(torch.Generator().manual_seed, 0), prepared.fabric.device
    loop = TrainingLoop(
        prepared.program,
        source_of((train.x, train.y), batch_size=spec.training.batch_size, order=order, device=device),
        elbo=prepared.elbo,
        optimizer=optimizer,
        fabric=prepared.fabric,
        transform=spec.task.transform,
        capture=capture,
    )
    spent = []
    for epoch in range(_WARM_UP + _PASSES):
        start = time.perf_counter()
        loop.epoch(epoch)
        spent.append(time.perf_counter() - start)
    return 1e3 * min(spent[_WARM_UP:]) / len(train)


def _images(spec: RunSpec) -> int:
    whole: Mapping[str, int] = _WHOLE
    return spec.training.epochs * (spec.data.limit or whole[spec.data.data])
