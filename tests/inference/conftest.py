"""A small program, a small set and a quick configuration for the tests of fitting."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ib_pyro import Bottleneck
from inference import RunSpec, run
from models.mlp import MLP


@pytest.fixture
def stripes() -> SimpleNamespace:
    """90 noisy 4x4 images of 3 classes, each with a bright row of its own: learnt in a few epochs."""
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(90) % 3
    x = 0.1 * torch.rand(90, 1, 4, 4, generator=generator)
    x[torch.arange(90), 0, y] += 0.9
    return SimpleNamespace(x=x, y=y)


@pytest.fixture
def build() -> Callable[..., Bottleneck]:
    """A builder of small classifiers of those images, with the same parameters each time."""

    def build_program(**options: object) -> Bottleneck:
        torch.manual_seed(3)
        return MLP(**{"hidden": 8, "image_shape": (1, 4, 4), "num_classes": 3, **options})

    return build_program


@dataclass(frozen=True)
class Job:
    """A run and its folder."""

    spec: RunSpec
    out: Path

    def run(self, **options: Any) -> dict[str, Any]:
        return run(self.spec, self.out, progress=False, **options)


@pytest.fixture
def quick(tmp_path: Path) -> Callable[..., Job]:
    """A builder of runs that take less than a second."""

    def job(out: Path = tmp_path / "run", **options: object) -> Job:
        settings = {"limit": 200, "epochs": 3, "batch_size": 50, "threads": 1, "accelerator": "cpu"}
        own = {} if options.get("model") == "vae" else {"hidden": 8, "beta_paper": 1.0}
        return Job(RunSpec.of(**{**settings, **own, **options}), out)

    return job
