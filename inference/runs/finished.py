"""Finished runs side by side: what each is, which are seeds of one, and that none is there twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.runs.failure import read_failure
from inference.runs.folder import RunFolder
from inference.runs.spec import RunSpec, entries

__all__ = [
    "DIGEST_OF",
    "Failed",
    "Finished",
    "changed_since",
    "places_of",
    "read_failed",
    "read_finished",
    "require_distinct",
    "told_by",
    "what_they_are",
]

Settings = dict[str, Any]

DIGEST_OF = "digest of "
"""What stands before the name of a file of the user's own, as of a setting in which runs differ."""

# Columns of a result that all finished runs have.
NEEDED = ("model", "data", "beta", "beta_paper", "epochs")


@dataclass(frozen=True)
class Finished:
    """A run that is done.

    Args:
        path: Its folder.
        result: What its ``result.json`` holds, under the names of its settings too.
        settings: What it is but for its seed: the settings that are not the defaults; without a ``config.json``, those
            that its result repeats.
        seed: Its seed.
        fingerprints: Of its images, by split; none of a run of an earlier version.
        sources: Of functions of the user's own, a digest of each file by its name.
        is_verified: Whether the files say of which settings they are, so that this could be looked at.
    """

    path: Path
    result: dict[str, Any]
    settings: Settings
    seed: int | None
    fingerprints: dict[str, str]
    sources: dict[str, str]
    is_verified: bool


@dataclass(frozen=True)
class Failed:
    """A run that has failed, as its folder says.

    Args:
        path: Its folder.
        settings: As in ``Finished``.
        told: What happened.
    """

    path: Path
    settings: Settings
    told: str


def read_failed(path: Path) -> Failed | None:
    """Read a run that has failed; None of one that has not, or has a result since.

    Raises:
        ValueError: If the folder has files that cannot be read.
    """
    folder, failure = RunFolder(path), read_failure(path)
    if failure is None or folder.result_file.exists() or not folder.config_file.exists():
        return None
    return Failed(path, _but_for_the_seed(folder.spec()), str(failure))


def read_finished(path: Path) -> Finished:
    """Read a finished run, of whichever version.

    Raises:
        ValueError: If the folder holds no run, an unfinished one, or files that do not belong together.
    """
    folder = RunFolder(path)
    result = folder.result()
    if result is None:
        raise ValueError(f"{path} has no result.json; finish the run with `fit --resume`")
    if folder.config_file.exists():
        spec = folder.spec()
        prints = folder.config().get("fingerprints") or {}
        # A whitening that was fitted on another machine differs in its last digits.
        prints = {split: value for split, value in prints.items() if split != "whitening"}
        content = {**spec.columns(), **result}
        settings, seed = _but_for_the_seed(spec), spec.training.seed
        made_of = folder.config().get("sources") or {}
        sources = {name: each for own in made_of.values() for name, each in (own.get("files") or {}).items()}
        found = Finished(path, content, settings, seed, prints, sources, "digest" in result)
    else:
        found = Finished(path, result, told_by(result), result.get("seed"), {}, {}, is_verified=False)
    lacking = [name for name in NEEDED if name not in found.result]
    if lacking:
        raise ValueError(f"{folder.result_file} is no result of a run: it has no {', '.join(lacking)}")
    return found


def changed_since(path: Path) -> str | None:
    """Say which function of the user's own is no longer there, or not as at the fit; None if all are.

    Args:
        path: Folder of the run.
    """
    folder = RunFolder(path)
    if not folder.config_file.exists():
        return None
    try:
        folder.require_same_sources(folder.spec())
    except ValueError as error:
        return str(error)
    return None


def _but_for_the_seed(spec: RunSpec) -> Settings:
    return {name: value for name, value in spec.identity().items() if name != "seed"}


def told_by(result: Mapping[str, Any]) -> Settings:
    """What a result says of the run but for its seed, where the settings themselves are not at hand."""
    names = {entry.name for _, entry in entries()} | {"objective", "num_train", "num_parameters"}
    return {name: value for name, value in result.items() if name in names and name != "seed"}


def require_distinct(runs: Sequence[Finished]) -> None:
    """Make sure that no run is there twice, which would make its seed look like two.

    Raises:
        ValueError: If one is; names both folders.
    """
    seen: dict[str, Finished] = {}
    for run in runs:
        place = str(run.path.resolve())
        what = json.dumps([run.settings, run.sources, run.seed], sort_keys=True)
        keys = [place] if run.seed is None else [place, what]
        for key in keys:
            if key in seen:
                raise ValueError(
                    f"{run.path} and {seen[key].path} are the same run (seed {run.seed}), which counts once; leave "
                    "out one"
                )
            seen[key] = run


def what_they_are(runs: Sequence[Finished]) -> list[Settings]:
    """What sets the runs apart: settings, files of the user's own, and fingerprints of images.

    One of an earlier version has no fingerprints: it is taken for a seed of the others of its settings, unless their
    images differ.

    Args:
        runs: The runs.
    """
    told = [run.settings | {f"{DIGEST_OF}{name}": each for name, each in run.sources.items()} for run in runs]
    found = []
    for what in told:
        prints = [run.fingerprints for run, other in zip(runs, told, strict=True) if other == what]
        known = [each for each in prints if each]
        found.append(len(known) == len(prints) or any(each != known[0] for each in known))
    return [
        what | {f"fingerprint of {split}": value for split, value in run.fingerprints.items()}
        if with_prints
        else what
        for what, run, with_prints in zip(told, runs, found, strict=True)
    ]


def places_of(failed: Failed, runs: Sequence[Finished], told: Sequence[Settings]) -> list[Settings]:
    """What the runs are that a failed one may be a seed of: of its settings, each once.

    Which data and which version of a file it was meant for is not known of a run that failed: where there are several,
    nobody can say whose seed is lost.

    Args:
        failed: The failed run.
        runs: The others.
        told: What each of them is, by ``what_they_are``.
    """
    found: list[Settings] = []
    for run, what in zip(runs, told, strict=True):
        if run.settings == failed.settings and what not in found:
            found.append(what)
    return found
