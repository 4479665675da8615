"""Where the paper's data come from and its runs go to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.runs.folder import RunFolder
from inference.runs.spec import RunSpec

__all__ = ["Place"]


@dataclass(frozen=True)
class Place:
    """Where data come from and runs go to.

    Args:
        out: Folder of the figures; ``runs/`` in it (``runs-stand-in/`` without real images) has a folder a run.
        data_root: Folder of the real images; None for small stand-ins made of scikit-learn's digits.
    """

    out: Path
    data_root: Path | None = None

    @property
    def runs(self) -> Path:
        """Folder of the runs; those on stand-ins have a place of their own."""
        return self.out / ("runs" if self.data_root else "runs-stand-in")

    def here(self, spec: RunSpec) -> RunSpec:
        """A run on the images of this place."""
        return spec.but(stand_in=True) if self.data_root is None else spec.but(data_root=self.data_root)

    def folders(self, specs: Sequence[RunSpec]) -> list[Path]:
        """Folder of each run: where it lies, under a name of an earlier version too, or where it will."""
        named = [self.runs / self.here(spec).name for spec in specs]
        if all(path.exists() for path in named):
            return named
        found = self._found()
        return [
            path if path.exists() else found.get(_key(self.here(spec)), path)
            for spec, path in zip(specs, named, strict=True)
        ]

    @property
    def threads(self) -> int | None:
        """CPU threads that the runs here are summed with, one number for all; None if none has begun."""
        for file in sorted(self.runs.glob("*/config.json")):
            threads = RunFolder(file.parent).threads
            if threads is not None:
                return threads
        return None

    def _found(self) -> dict[str, Path]:
        runs = {}
        for file in sorted(self.runs.glob("*/config.json")):
            try:
                runs.setdefault(_key(RunFolder(file.parent).spec()), file.parent)
            except ValueError:
                continue  # of no version that is known: nobody will ask for it
        return runs


def _key(spec: RunSpec) -> str:
    return json.dumps(spec.identity(), sort_keys=True)
