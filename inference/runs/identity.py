"""Whether what lies in a folder belongs together: files of one run, and the images of its fit."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inference.runs.own_function import OwnFunction

__all__ = ["require_same_images", "require_same_run", "require_same_sources"]


def require_same_run(path: Path, found: object, expected: str) -> None:
    """Make sure that a file is of the run that its folder says.

    Args:
        path: The file.
        found: The digest in it; None in one that an earlier version wrote, which is said.
        expected: The run's.

    Raises:
        ValueError: If it is of another run.
    """
    if found is None:
        warnings.warn(f"{path} is unverified: an earlier version wrote it without a digest", stacklevel=3)
    elif found != expected:
        raise ValueError(
            f"{path} is of a run of other settings (digest {found}) than the config.json beside it ({expected}); "
            "put back the file that belongs there, or fit anew in a new folder"
        )


def require_same_images(
    path: Path, found: Mapping[str, Any] | None, here: Mapping[str, str], name_of_set: str
) -> None:
    """Make sure that the images of a run are still those that it was fitted to and tested on.

    Args:
        path: Folder of the run.
        found: Fingerprints of its splits; None of a run of an earlier version, which is said.
        here: Those of the images that are here now; without a whitening, the images alone are looked at.
        name_of_set: What the images are called: the set and where it lies.

    Raises:
        ValueError: If they differ; names the splits.
    """
    if found is None:
        warnings.warn(
            f"{path}: whether the images of {name_of_set} are still those of the fit is unverified: an earlier "
            "version wrote it without their fingerprints",
            stacklevel=3,
        )
        return
    names = [n for n in dict.fromkeys([*found, *here]) if n != "whitening" or n in here]
    changed = [name for name in names if found.get(name) != here.get(name)]
    if changed == ["whitening"]:
        # Of the same images: another machine, or another number of threads, rounds otherwise.
        warnings.warn(f"{path}: the whitening was fitted anew, and differs in its last digits", stacklevel=3)
    elif changed:
        told = ", ".join(f"{name} {found.get(name)} there, {here.get(name)} here" for name in changed)
        raise ValueError(
            f"{path}: the images of {name_of_set} are not those of the fit (fingerprints: {told}); put the former "
            "images back or name their folder by --data-root, or fit anew in a new folder"
        )


def require_same_sources(path: Path, found: Mapping[str, Any], here: Sequence[OwnFunction]) -> None:
    """Make sure that functions of the user's own are made of the files that a run was fitted with.

    Args:
        path: Folder of the run.
        found: What its ``config.json`` says of them, by the settings that name them.
        here: The functions.

    Raises:
        ValueError: If one is not there, or a file of it is another; names the setting and the files.
    """
    for own in here:
        before = found.get(own.option) or {}
        try:
            now = own.sources()
        except ValueError as error:
            raise ValueError(f"{path}: {error}; at the fit it was {before.get('path')}") from error
        files, digests = before.get("files") or {}, now["files"]
        names = [name for name in dict.fromkeys([*files, *digests]) if files.get(name) != digests.get(name)]
        if names:
            told = ", ".join(
                f"{n} {files.get(n, 'absent')} there, {digests.get(n, 'absent')} here" for n in names
            )
            raise ValueError(
                f"{path}: {own} is not what it was at the fit (digests: {told}); put the former file back, or fit "
                "anew in a new folder"
            )
