"""Runs on their way, kept in one file, so that a process that was killed is as if it had not been."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ib_pyro.saving.module_options import difference_of
from ib_pyro.side_by_side.steps import SideBySideTraining
from ib_pyro.tensor_files import load_tensors, save_tensors
from ib_pyro.training.fit_description import Description

__all__ = ["RunsCheckpoint"]

KIND = "ib_pyro runs side by side"


class RunsCheckpoint:
    """The state of several runs and their history, replaced in a single step by every save.

    Args:
        path: The file; None: nothing is kept.
        settings: What all runs have in common, as far as the numbers depend on it.
        every: Least seconds between two saves; the last epoch's is made whatever they are.
        programs: The program of each run, as ``describe_program`` has it before it first ran.
        made_of: The runs, their objectives and optimisers, as they are before the first step.
    """

    def __init__(
        self,
        path: Path | None,
        settings: Mapping[str, Any],
        *,
        every: float = 0.0,
        programs: Sequence[Description] = (),
        made_of: Description | None = None,
    ) -> None:
        self._path, self._settings, self._every = path, dict(settings), every
        self._programs, self._made_of = list(programs), dict(made_of or {})
        self._last = time.monotonic()

    def save(self, training: SideBySideTraining, history: list[dict[str, Any]], *, last: bool) -> None:
        """Keep the state after an epoch, if it is time to.

        Args:
            training: The runs.
            history: Their rows so far.
            last: Whether it was the last epoch, for now at least: then it is always time.
        """
        if self._path is None or (not last and time.monotonic() - self._last < self._every):
            return
        content = {
            "kind": KIND,
            "settings": self._settings,
            "programs": self._programs,
            "made_of": self._made_of,
            "training": training.state_dict(),
            "history": history,
        }
        save_tensors(content, self._path)
        self._last = time.monotonic()

    def restore(self, training: SideBySideTraining) -> list[dict[str, Any]]:
        """Go on from what is kept; return the history up to there, which is empty if nothing is kept.

        Raises:
            ValueError: If the file is none of this kind, or of other runs or settings; names the setting.
        """
        if self._path is None or not self._path.exists():
            return []
        content = _read(self._path)
        for name, value in self._settings.items():
            kept = content["settings"].get(name, value)
            if kept != value:
                raise ValueError(
                    f"checkpoint={self._path} is of runs with {name}={kept}, and these have {value}; pass another path"
                )
        self._require_same_parts(content)
        try:
            training.load_state_dict(content["training"])
        except ValueError as error:
            raise ValueError(f"checkpoint={self._path}: {error}; pass another path") from error
        history: list[dict[str, Any]] = content["history"]
        return history

    def _require_same_parts(self, content: Mapping[str, Any]) -> None:
        pairs = [*zip(content.get("programs", ()), self._programs, strict=False)]
        if content.get("made_of"):  # An earlier version does not say.
            pairs.append((content["made_of"], self._made_of))
        for there, here in pairs:
            difference = difference_of(there, here, sides=("there", "here")).replace("module the ", "the ")
            if difference:
                raise ValueError(
                    f"checkpoint={self._path} is of other runs: {difference}; make all as it was, or pass another path"
                )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = load_tensors(path)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"checkpoint={path} cannot be read ({error}); remove it, or pass another path"
        ) from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise ValueError(f"checkpoint={path} is no checkpoint of runs side by side; pass another path")
    return content
