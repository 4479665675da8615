"""Checkpoints: all that a run needs to go on as if it had never stopped."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ib_pyro.tensor_files import load_tensors, readable, save_tensors
from ib_pyro.training.divergence import finite_tensors
from ib_pyro.training.fit_description import (
    OBJECTIVE,
    Description,
    describe_fit,
    describe_program,
    difference_to,
)
from ib_pyro.training.randomness import rng_state, set_rng_state

__all__ = [
    "EARLIER",
    "Checkpoint",
    "Restored",
    "State",
    "Stateful",
    "checkpoint_path",
    "load_checkpoint",
    "restore_program",
]

NAME = "checkpoint.pt"

State = dict[str, Any]
"""What ``state_dict`` returns."""

EARLIER = -1
"""In the place of an epoch that a checkpoint of an earlier version does not say."""

WAY_OUT = "put back the file that belongs there, or fit anew in a new folder"


class Stateful(Protocol):
    """What learns or counts during a fit, and can be put back: a module, an optimiser, a gradient scaler."""

    def state_dict(self) -> dict[str, Any]:
        """Return its state, of tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:  # noqa: ANN401 - modules return what was missing
        """Put a state back."""


class Restored(NamedTuple):
    """What a checkpoint says beside the states that it has put back.

    Attributes:
        history: A row of metrics for each finished epoch.
        best: The program's state after the best epoch, if one is kept.
        best_epoch: That epoch; 0 for none, and ``EARLIER`` where an earlier version has not said.
        monitor: What it was the best by.
    """

    history: list[dict[str, Any]]
    best: State | None
    best_epoch: int
    monitor: str


class Checkpoint:
    """The state of a fit in one file: program, optimiser, schedule, generators and the history so far.

    Args:
        path: The file, replaced in a single step by every ``save``.
        program: Module that is fitted.
        optimizer: Its optimiser.
        order: Generator that draws the order of the batches, or several.
        scheduler: Schedule of the learning rate.
        settings: What a fit that goes on from it must have as well: names and plain values.
        also: What else has a state, by names of its own.
        stamp: What the fit is of, such as digests of its settings and its data, by name; a checkpoint of another one
            is refused.
        described: The program, by ``describe_program``, and the objective, by ``describe_objective``, as they were
            before they first ran; by default the program as it is.
        objective: Describes the objective as it is now.
    """

    def __init__(
        self,
        path: Path,
        program: nn.Module,
        optimizer: Optimizer,
        order: torch.Generator | Sequence[torch.Generator],
        scheduler: LRScheduler | None = None,
        settings: Mapping[str, str | int | float | None] | None = None,
        *,
        also: Mapping[str, Stateful] | None = None,
        stamp: Mapping[str, str] | None = None,
        described: Description | None = None,
        objective: Callable[[], Description] = dict,
    ) -> None:
        self.path, self._objective = path, objective
        self._program, self._optimizer, self._scheduler = program, optimizer, scheduler
        self._orders = [order] if isinstance(order, torch.Generator) else list(order)
        self._settings, self._stamp = dict(settings or {}), dict(stamp or {})
        self._also = dict(also or {})
        self._description = describe_fit(described or describe_program(program), optimizer, scheduler)
        self._held: State | None = None

    def save(
        self,
        history: list[dict[str, Any]],
        *,
        best: State | None = None,
        best_of: tuple[int, str] = (0, ""),
        ambient: list[dict[str, Any]] | None = None,
        write: bool = True,
    ) -> None:
        """Write the state after ``len(history)`` epochs.

        Args:
            history: A row of metrics for each finished epoch.
            best: The program's state after the best epoch, if one is kept.
            best_of: That epoch, and what it is the best by.
            ambient: States of the ambient generators of each process; by default of this one.
            write: Whether to write; otherwise it is only looked whether that could be done.

        Raises:
            FloatingPointError: If a parameter or statistic is not finite, so that the last good state stays.
            TypeError: If something in the state would not be read back; names it.
        """
        for name, value in finite_tensors(self._program):
            if not _is_finite(value):
                raise FloatingPointError(
                    f"'{name}' is not finite after epoch {len(history)}; the checkpoint before it is kept. "
                    "Try a smaller learning rate in a new folder"
                )
        if write:
            save_tensors(self._content(history, best, best_of, ambient), self.path)
        self._held = None

    def hold(
        self,
        history: list[dict[str, Any]],
        *,
        best: State | None = None,
        best_of: tuple[int, str] = (0, ""),
        ambient: list[dict[str, Any]] | None = None,
    ) -> None:
        """Keep a copy of the state in memory, for ``save_held``; the arguments are those of ``save``.

        Raises:
            TypeError: If something in it would not be read back.
        """
        self._held = copy.deepcopy(readable(self._content(history, best, best_of, ambient), self.path))

    def save_held(self) -> None:
        """Write the state that is held, if it is newer than what was written, and finite."""
        held = self._held
        if held is None:
            return
        names = [name for name, _ in finite_tensors(self._program) if name in held["program"]]
        if all(_is_finite(held["program"][name]) for name in names):
            save_tensors(held, self.path)
            self._held = None

    def restore(self, content: State | None = None, *, process: int = 0) -> Restored:
        """Put everything back as it was at the last ``save``.

        Args:
            content: What the file holds, if it has been read.
            process: Which of several processes this is.

        Returns:
            The history up to it, and what was kept of the best epoch.

        Raises:
            ValueError: If the file is damaged, of another program, or of a fit with other settings; names them.
        """
        content = load_checkpoint(self.path, stamp=self._stamp) if content is None else content
        description = content.get("description") or {}
        settings = dict(content.get("settings") or {})
        if OBJECTIVE in description:
            settings.pop("elbo", None)  # the same in words, with some digits
        self._require_same_settings(settings)
        if description:
            self._require_same_description(description, content["described_last"])
        states = content["rng"] if isinstance(content["rng"], list) else [content["rng"]]
        if process >= len(states):
            raise ValueError(
                f"{self.path} is of a fit in {len(states)} processes, and this one has more; go on with as many"
            )
        _load_program(self.path, self._program, content["program"])
        try:
            self._restore_others(content, process)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.path} has the state of another optimizer, or of another fit "
                f"({type(error).__name__}: {error}); {WAY_OUT}"
            ) from error
        # Data that a fit in between did not look at are still those that its history is of.
        held_out = {name: value for name, value in settings.items() if name.startswith("validation")}
        self._settings = {**held_out, **self._settings}
        best = content.get("best")
        epoch = content.get("best_epoch", 0 if best is None else EARLIER)
        return Restored(content["history"], best, epoch, content.get("monitor", ""))

    def _restore_others(self, content: State, process: int) -> None:
        self._optimizer.load_state_dict(content["optimizer"])
        if self._scheduler is not None and content["scheduler"] is not None:
            self._scheduler.load_state_dict(content["scheduler"])
        for name, part in self._also.items():
            part.load_state_dict(content["also"][name])
        orders = content["order"] if isinstance(content["order"], list) else [content["order"]]
        for order, state in zip(self._orders, orders, strict=False):
            order.set_state(state)
        ambient = content["rng"] if isinstance(content["rng"], list) else [content["rng"]]
        set_rng_state(ambient[process])

    def _require_same_settings(self, there: Mapping[str, Any]) -> None:
        for name in self._settings:
            if self._settings[name] != there.get(name, self._settings[name]):
                raise ValueError(
                    f"{self.path} is of a fit with {name}={there[name]}, and this one has "
                    f"{name}={self._settings[name]}; go on with the former, or fit anew under another path"
                )

    def _require_same_description(self, there: Description, last: Description) -> None:
        # An earlier version describes no objective.
        new = (
            {}
            if OBJECTIVE in there
            else {n: v for n, v in self._description.items() if n.startswith(OBJECTIVE)}
        )
        difference = difference_to({n: v for n, v in self._description.items() if n not in new}, there, last)
        if difference:
            raise ValueError(
                f"{self.path} is of another fit: {difference}; make all as it was, or fit anew under another path"
            )
        self._description = {**there, **new}

    def _content(
        self,
        history: list[dict[str, Any]],
        best: State | None,
        best_of: tuple[int, str],
        ambient: list[dict[str, Any]] | None,
    ) -> State:
        return {
            "program": self._program.state_dict(),
            "best": best,
            "best_epoch": best_of[0],
            "monitor": best_of[1],
            "settings": self._settings,
            "stamp": self._stamp,
            "description": self._description,
            "described_last": describe_fit(
                {**describe_program(self._program), **self._objective()}, self._optimizer, self._scheduler
            ),
            "optimizer": self._optimizer.state_dict(),
            "scheduler": None if self._scheduler is None else self._scheduler.state_dict(),
            "also": {name: part.state_dict() for name, part in self._also.items()},
            "order": [order.get_state() for order in self._orders],
            "rng": ambient or [rng_state()],
            "history": history,
        }


def checkpoint_path(out: Path | str) -> Path:
    """Return the file of a fit's checkpoint.

    Args:
        out: The file, or a folder for it: one that is there, ends in a separator, or has no suffix.
    """
    path = Path(out)
    ends = str(out).endswith(("/", os.sep))
    return path / NAME if path.is_dir() or ends or not (path.suffix or path.is_file()) else path


def load_checkpoint(path: Path, *, stamp: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, as tensors and plain values only.

    Args:
        path: The file.
        stamp: What it must be of; one of an earlier version, which does not say, is taken with a warning.

    Raises:
        ValueError: If the file is damaged, no checkpoint of this package, or of another fit.
    """
    content = load_tensors(path)
    kinds: dict[str, Any] = {"program": Mapping, "history": list, "rng": (list, Mapping)}
    if not isinstance(content, dict) or not all(isinstance(content.get(n), k) for n, k in kinds.items()):
        raise ValueError(f"{path} is no checkpoint of a fit; {WAY_OUT}")
    if stamp:
        _require_stamp(path, content.get("stamp"), stamp)
    return content


def restore_program(
    path: Path, program: nn.Module, *, stamp: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Load a program's parameters and statistics from a checkpoint: of the best epoch if one was kept, or the last.

    Args:
        path: The file.
        program: The program.
        stamp: What the checkpoint must be of.

    Returns:
        The history of the fit, a row an epoch.

    Raises:
        ValueError: If the checkpoint is damaged, or of another program or fit.
    """
    content = load_checkpoint(path, stamp=stamp)
    _load_program(path, program, content.get("best") or content["program"])
    history: list[dict[str, Any]] = content["history"]
    return history


def _load_program(path: Path, program: nn.Module, state: State) -> None:
    try:
        program.load_state_dict(state)
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds another program than {type(program).__name__}: {error}") from error


def _require_stamp(path: Path, found: object, expected: Mapping[str, str]) -> None:
    if not found:
        warnings.warn(f"{path} is unverified: it does not say which fit it is of", stacklevel=4)
    elif found != dict(expected):
        there = found if isinstance(found, Mapping) else {}
        names = [name for name in dict.fromkeys([*expected, *there]) if there.get(name) != expected.get(name)]
        told = ", ".join(f"{name} {there.get(name)} there, {expected.get(name)} here" for name in names)
        raise ValueError(f"{path} is of another fit ({told}); {WAY_OUT}")


def _is_finite(value: torch.Tensor) -> bool:
    return not value.is_floating_point() or bool(value.isfinite().all())
