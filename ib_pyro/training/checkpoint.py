"""Checkpoints: all that a run needs to go on as if it had never stopped."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ib_pyro.tensor_files import load_tensors, save_tensors
from ib_pyro.training.randomness import rng_state, set_rng_state

__all__ = ["Checkpoint", "Stateful", "load_checkpoint", "restore_program"]

WAY_OUT = "put back the file that belongs there, or fit anew in a new folder"


class Stateful(Protocol):
    """What learns or counts during a fit, and can be put back: a module, an optimiser, a gradient scaler."""

    def state_dict(self) -> dict[str, Any]:
        """Return its state, of tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:  # noqa: ANN401 - modules return what was missing
        """Put a state back."""


class Checkpoint:
    """The state of a fit in one file: program, optimiser, schedule, generators and the history so far.

    Args:
        path: The file, replaced in a single step by every ``save``.
        program: Module that is fitted.
        optimizer: Its optimiser.
        order: Generator that draws the order of the batches.
        scheduler: Schedule of the learning rate.
        also: What else has a state, by names of its own.
        stamp: What the fit is of, such as digests of its settings and its data, by name; a checkpoint of another one
            is refused.
    """

    def __init__(
        self,
        path: Path,
        program: nn.Module,
        optimizer: Optimizer,
        order: torch.Generator,
        scheduler: LRScheduler | None = None,
        *,
        also: Mapping[str, Stateful] | None = None,
        stamp: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self._program, self._order, self._stamp = program, order, dict(stamp or {})
        self._parts: dict[str, Stateful | None] = {"optimizer": optimizer, "scheduler": scheduler}
        self._also = dict(also or {})
        self._held: dict[str, Any] | None = None

    def save(self, history: list[dict[str, Any]]) -> None:
        """Write the state after ``len(history)`` epochs.

        Args:
            history: A row of metrics for each finished epoch.

        Raises:
            FloatingPointError: If a parameter or statistic is not finite, so that the last good state stays.
        """
        content = self._content(history)
        _require_finite(content["program"], len(history))
        save_tensors(content, self.path)
        self._held = None

    def hold(self, history: list[dict[str, Any]]) -> None:
        """Keep a copy of the state in memory, for ``save_held``."""
        self._held = copy.deepcopy(self._content(history))

    def save_held(self) -> None:
        """Write the state that is held, if it is newer than what was written, and finite."""
        held = self._held
        if held is not None and all(_is_finite(value) for value in held["program"].values()):
            save_tensors(held, self.path)
            self._held = None

    def restore(self) -> list[dict[str, Any]]:
        """Put everything back as it was at the last ``save``.

        Returns:
            The history up to it.

        Raises:
            ValueError: If the file is damaged, or of another fit.
        """
        content = load_checkpoint(self.path, stamp=self._stamp)
        try:
            self._program.load_state_dict(content["program"])
            for name, part in self._parts.items():
                if part is not None:
                    part.load_state_dict(content[name])
            for name, part in self._also.items():
                part.load_state_dict(content["also"][name])
            self._order.set_state(content["order"])
            set_rng_state(content["rng"])
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.path} is of another fit than this one ({_first_line(error)}); {WAY_OUT}"
            ) from error
        history: list[dict[str, Any]] = content["history"]
        return history

    def _content(self, history: list[dict[str, Any]]) -> dict[str, Any]:
        states = {n: None if part is None else part.state_dict() for n, part in self._parts.items()}
        return {
            "program": self._program.state_dict(),
            **states,
            "also": {name: part.state_dict() for name, part in self._also.items()},
            "order": self._order.get_state(),
            "rng": rng_state(),
            "history": history,
            "stamp": self._stamp,
        }


def load_checkpoint(path: Path, *, stamp: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, as tensors and plain values only.

    Args:
        path: The file.
        stamp: What it must be of; one of an earlier version, which does not say, is taken with a warning.

    Raises:
        ValueError: If the file is damaged, no checkpoint of this package, or of another fit.
    """
    content = load_tensors(path)
    kinds = {"program": Mapping, "history": list, "rng": Mapping}
    if not isinstance(content, dict) or not all(isinstance(content.get(n), k) for n, k in kinds.items()):
        raise ValueError(f"{path} is no checkpoint of a fit; {WAY_OUT}")
    if stamp:
        _require_stamp(path, content.get("stamp"), stamp)
    return content


def restore_program(
    path: Path, program: nn.Module, *, stamp: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Load a program's parameters and statistics from a checkpoint.

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
    try:
        program.load_state_dict(content["program"])
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds another program than {type(program).__name__}: {error}") from error
    history: list[dict[str, Any]] = content["history"]
    return history


def _require_stamp(path: Path, found: object, expected: Mapping[str, str]) -> None:
    if not found:
        warnings.warn(f"{path} is unverified: it does not say which fit it is of", stacklevel=4)
    elif found != dict(expected):
        there = found if isinstance(found, Mapping) else {}
        names = [name for name in dict.fromkeys([*expected, *there]) if there.get(name) != expected.get(name)]
        told = ", ".join(f"{name} {there.get(name)} there, {expected.get(name)} here" for name in names)
        raise ValueError(f"{path} is of another fit ({told}); {WAY_OUT}")


def _require_finite(state: Mapping[str, Any], epoch: int) -> None:
    for name, value in state.items():
        if not _is_finite(value):
            raise FloatingPointError(
                f"'{name}' is not finite after epoch {epoch}; the checkpoint before it is kept. "
                "Try a smaller learning rate in a new folder"
            )


def _is_finite(value: torch.Tensor) -> bool:
    return not value.is_floating_point() or bool(value.isfinite().all())


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
