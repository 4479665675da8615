"""The folder of a run: what lies in it, and whose it is."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ib_pyro.provenance import revision, versions
from inference.json_and_csv import csv_text, read_json, write_csv, write_json
from inference.runs.identity import require_same_images, require_same_run, require_same_sources
from inference.runs.older import read_spec
from inference.runs.run_lock import held, tidy
from inference.runs.spec import RunSpec, settings_digest

__all__ = ["RunFolder"]

# What a run's numbers depend on.
PACKAGES = ("ib-pyro", "torch", "pyro-ppl", "lightning", "numpy")


class RunFolder:
    """A run on disk: ``config.json``, ``metrics.csv``, ``checkpoint.pt`` and, when it is done, ``result.json``.

    Each of them has the digest of the run's settings in it, and the JSON a checksum of its content.

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
        """Make sure that a run may write here; nothing is written yet, and what a killed process has left goes away.

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
        self.require_same_sources(spec)
        if not resume:
            state = "finished" if self.result_file.exists() else "unfinished"
            raise ValueError(
                f"--out {self.path} already holds this run, {state}; add --resume, or choose a new folder"
            )
        tidy(self.path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder if need be, and let no other process write to it inside of the block.

        Raises:
            ValueError: If another process does; says which.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with held(self.path):
            yield

    def start(self, spec: RunSpec, fingerprints: Mapping[str, str], **facts: Any) -> None:
        """Write ``config.json``; if it is there already, make sure that the images are still those in it.

        Args:
            spec: The run.
            fingerprints: Of its splits.
            facts: What followed from it (both betas, sizes, learning-rate drops, the device, the threads).

        Raises:
            ValueError: If the images are others.
        """
        if self.config_file.exists():
            self.require_same_images(spec, fingerprints)
            return
        made_with = {"versions": versions(*PACKAGES), "revision": revision(Path(__file__).parent)}
        identity: dict[str, Any] = {"digest": spec.digest, "fingerprints": dict(fingerprints)}
        if spec.own_functions:
            identity["sources"] = spec.sources()
        content = {"settings": spec.settings(), **identity, **facts, **made_with}
        write_json(self.config_file, content, sealed=True)

    def require_same_images(self, spec: RunSpec, fingerprints: Mapping[str, str]) -> None:
        """Make sure that the images here are those of the fit.

        Raises:
            ValueError: If they are others; names the splits.
        """
        root = spec.data.data_root
        name = spec.data.data if root is None else f"{spec.data.data} in {root}"
        require_same_images(self.path, self.config().get("fingerprints"), fingerprints, name)

    def require_same_sources(self, spec: RunSpec) -> None:
        """Make sure that functions of the user's own are still those of the fit.

        Raises:
            ValueError: If one is not there, or its files are others; names the setting and the files.
        """
        require_same_sources(self.path, self.config().get("sources") or {}, spec.own_functions)

    def config(self) -> dict[str, Any]:
        """What ``config.json`` says: settings, digest, fingerprints, and what followed from them.

        Raises:
            ValueError: If there is none, or it is not as it was written.
        """
        if not self.config_file.exists():
            raise ValueError(f"{self.path} holds no run: there is no {self.config_file.name} in it")
        content = read_json(self.config_file)
        sources = content.get("sources") or {}
        parts = {name: content.get(name) or {} for name in ("settings", "fingerprints", "versions")}
        parts |= {"sources": sources} | (dict(sources) if isinstance(sources, Mapping) else {})
        for name, part in parts.items():
            if not isinstance(part, Mapping):
                raise ValueError(
                    f"{self.config_file} is of something else: its {name} are {part!r:.50}; put back the file that "
                    "belongs there"
                )
        return content

    def spec(self) -> RunSpec:
        """The run that lies here, of whichever version.

        Raises:
            ValueError: If none does, or one that this version cannot read.
        """
        content = self.config()
        try:
            return read_spec(content)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.config_file}: {error}") from error

    @property
    def digest(self) -> str:
        """Stands for the settings in ``config.json``, whatever its version.

        Raises:
            ValueError: If the file says another one.
        """
        content = self.config()
        digest = settings_digest(content.get("settings") or {})
        require_same_run(self.config_file, content.get("digest", digest), digest)
        return digest

    @property
    def threads(self) -> int | None:
        """CPU threads that its sums were rounded by; None if it has not begun, or an earlier version began it."""
        threads = self.config().get("threads") if self.config_file.exists() else None
        return threads if isinstance(threads, int) else None

    def differences_here(self, device: str) -> list[str]:
        """In what this process differs from the one that began the run: the device, and versions.

        Args:
            device: That of this process.
        """
        config = self.config()
        before = {"device": config.get("device"), **(config.get("versions") or {})}
        here = {"device": device, **versions(*PACKAGES)}
        return [
            f"{n}: {before[n]} there, {here[n]} here" for n in here if before.get(n) not in (None, here[n])
        ]

    def mend_metrics(self, history: list[dict[str, Any]]) -> None:
        """Write ``metrics.csv`` anew if it is not what a checkpoint's history says."""
        texts = [csv_text(rows).encode() for rows in (history, self._of_this_run(history))]
        if not self.metrics_file.exists() or self.metrics_file.read_bytes() not in texts:
            warnings.warn(
                f"{self.metrics_file} is not as it was written; written anew from the checkpoint",
                stacklevel=3,
            )
            self.write_metrics(history)

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Write ``metrics.csv``, a row an epoch."""
        write_csv(self.metrics_file, self._of_this_run(history))

    def _of_this_run(self, history: list[dict[str, Any]]) -> list[dict[str, Any]]:
        digest = self.digest
        return [{**row, "digest": digest} for row in history]

    def epochs(self) -> int:
        """Number of epochs whose metrics are there."""
        if not self.metrics_file.exists():
            return 0
        return len(self.metrics_file.read_bytes().splitlines()) - 1

    def write_result(self, result: dict[str, Any]) -> None:
        """Write ``result.json``, which also says that the run is done."""
        write_json(self.result_file, {**result, "digest": self.digest}, sealed=True)

    def result(self) -> dict[str, Any] | None:
        """What ``result.json`` says; None if the run is not done.

        Raises:
            ValueError: If it is not as it was written, or of another run.
        """
        if not self.result_file.exists():
            return None
        result = read_json(self.result_file)
        if "digest" in result and self.config_file.exists():
            require_same_run(self.result_file, result["digest"], self.digest)
        return result
