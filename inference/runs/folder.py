"""The folder of a run: what lies in it, and whose it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ib_pyro.provenance import revision, versions
from inference.json_and_csv import read_json, write_csv, write_json
from inference.runs.older import read_spec
from inference.runs.spec import RunSpec

__all__ = ["RunFolder"]

# What a run's numbers depend on.
PACKAGES = ("ib-pyro", "torch", "pyro-ppl", "lightning", "numpy")


class RunFolder:
    """A run on disk: ``config.json``, ``metrics.csv``, ``checkpoint.pt`` and, when it is done, ``result.json``.

    Args:
        path: The folder; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.json"
        self.metrics_file = path / "metrics.csv"
        self.checkpoint_file = path / "checkpoint.pt"
        self.result_file = path / "result.json"

    def check(self, spec: RunSpec, *, resume: bool) -> None:
        """Make sure that a run may write here; nothing is written yet.

        Args:
            spec: The run that wants to.
            resume: Whether it may go on with what lies here.

        Raises:
            ValueError: If the folder holds another run, or anything that is no run.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"--out {self.path} is a file; choose a new folder")
        # Hidden files are no run's: one that was killed as it began leaves an unfinished one.
        if not self.path.exists() or all(entry.name.startswith(".") for entry in self.path.iterdir()):
            return
        if not self.config_file.exists():
            raise ValueError(f"--out {self.path} is not empty and holds no run; choose a new folder")
        differences = spec.differences(self.spec())
        if differences:
            raise ValueError(
                f"--out {self.path} already holds another run ({'; '.join(differences)}); choose a new folder"
            )
        if not resume:
            state = "finished" if self.result_file.exists() else "unfinished"
            raise ValueError(
                f"--out {self.path} already holds this run, {state}; add --resume, or choose a new folder"
            )

    def start(self, spec: RunSpec, **facts: Any) -> None:
        """Make the folder and write ``config.json``, unless it is there already.

        Args:
            spec: The run.
            facts: What followed from it (both betas, sizes, learning-rate drops, the device).
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if not self.config_file.exists():
            made_with = {"versions": versions(*PACKAGES), "revision": revision(Path(__file__).parent)}
            content = {"settings": spec.settings(), **facts, **made_with}
            write_json(self.config_file, content)

    def spec(self) -> RunSpec:
        """The run that lies here, of whichever version.

        Raises:
            ValueError: If none does, or one that this version cannot read.
        """
        if not self.config_file.exists():
            raise ValueError(f"{self.path} holds no run: there is no {self.config_file.name} in it")
        try:
            return read_spec(read_json(self.config_file))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.config_file}: {error}") from error

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Write ``metrics.csv``, a row an epoch."""
        write_csv(self.metrics_file, history)

    def epochs(self) -> int:
        """Number of epochs whose metrics are there."""
        if not self.metrics_file.exists():
            return 0
        return len(self.metrics_file.read_text(encoding="utf-8").splitlines()) - 1

    def write_result(self, result: dict[str, Any]) -> None:
        """Write ``result.json``, which also says that the run is done."""
        write_json(self.result_file, result)

    def result(self) -> dict[str, Any] | None:
        """What ``result.json`` says; None if the run is not done."""
        return read_json(self.result_file) if self.result_file.exists() else None
