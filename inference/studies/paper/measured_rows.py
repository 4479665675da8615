"""What a figure has measured of a run, kept in its folder, and taken only if it is of that run and its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from inference.json_and_csv import read_json, write_json
from inference.runs.data_spec import DataSpec
from inference.runs.folder import RunFolder
from inference.runs.identity import require_same_run
from inference.runs.spec import RunSpec

__all__ = ["read_rows_of", "require_same_images", "write_rows_of"]

Row = dict[str, Any]


def write_rows_of(name: str, folder: Path, rows: list[Row]) -> None:
    """Keep the rows of a figure beside the run that they were measured of."""
    content = {"digest": RunFolder(folder).digest, "rows": rows}
    write_json(folder / f"{name}.json", content, sealed=True)


def read_rows_of(name: str, folder: Path) -> list[Row]:
    """Read the rows of a figure that were measured of a run.

    Raises:
        ValueError: If the file is not as it was written, or of another run.
    """
    path = folder / f"{name}.json"
    content = read_json(path)
    if "digest" in content:
        require_same_run(path, content["digest"], RunFolder(folder).digest)
    rows = content.get("rows")
    if not isinstance(rows, list):
        raise ValueError(f"{path} has no rows of {name}; remove it, and it is measured again")
    return rows


def require_same_images(jobs: Sequence[tuple[RunSpec, Path]], console: Console) -> None:
    """Make sure that the images of runs that are done are still those that they were fitted to and measured on.

    Args:
        jobs: The runs, on the images that are here now, and their folders.
        console: Where to say of how many that is not known.

    Raises:
        ValueError: If they are others; names the run and the splits.
    """
    unverified = 0
    prints: dict[DataSpec, dict[str, str] | None] = {}
    for spec, path in jobs:
        folder = RunFolder(path)
        if "fingerprints" not in folder.config():
            unverified += 1
            continue
        # The images as they were read: to whiten them again would take longer than it tells.
        data = replace(spec.data, whiten=False)
        if data not in prints:
            prints[data] = _fingerprints(data)
        here = prints[data]
        if here is None:
            unverified += 1
        else:
            folder.require_same_images(spec, here)
    if unverified:
        console.print(
            f"{unverified} of {len(jobs)} runs that are done are unverified: they were written without fingerprints "
            "of their images, or the images are not here",
            highlight=False,
            soft_wrap=True,
        )


def _fingerprints(data: DataSpec) -> dict[str, str] | None:
    try:
        return dict(data.build().fingerprints)
    except FileNotFoundError:
        return None
