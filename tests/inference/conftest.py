"""A quick configuration for the tests of runs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from inference import RunSpec, run


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
