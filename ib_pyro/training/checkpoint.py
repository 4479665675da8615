"""Checkpoints: all that a run needs to go on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ib_pyro.files import written_whole
from ib_pyro.training.randomness import rng_state, set_rng_state

__all__ = ["Checkpoint", "State", "load_checkpoint", "restore_program"]

State = dict[str, Any]
"""What ``state_dict`` returns."""


class Checkpoint:
    """The state of a fit in one file: program, optimiser, schedule, generators and the history so far.

    Args:
        path: The file, replaced in a single step by every ``save``.
        program: Module that is fitted.
        optimizer: Its optimiser.
        order: Generator that draws the order of the batches, or several.
        scheduler: Schedule of the learning rate.
        settings: What a fit that goes on from it must have as well: names and plain values.
    """

    def __init__(
        self,
        path: Path,
        program: nn.Module,
        optimizer: Optimizer,
        order: torch.Generator | Sequence[torch.Generator],
        scheduler: LRScheduler | None = None,
        settings: Mapping[str, str | int | float | None] | None = None,
    ) -> None:
        self.path = path
        self._program, self._optimizer, self._scheduler = program, optimizer, scheduler
        self._orders = [order] if isinstance(order, torch.Generator) else list(order)
        self._settings = dict(settings or {})

    def save(
        self,
        history: list[dict[str, Any]],
        *,
        best: State | None = None,
        ambient: list[dict[str, Any]] | None = None,
        write: bool = True,
    ) -> None:
        """Write the state after ``len(history)`` epochs.

        Args:
            history: A row of metrics for each finished epoch.
            best: The program's state after the best epoch, if one is kept.
            ambient: States of the ambient generators of each process; by default of this one.
            write: Whether to write; otherwise it is only looked whether that could be done.

        Raises:
            FloatingPointError: If a parameter or statistic is not finite, so that the last good state stays.
        """
        state = self._program.state_dict()
        for name, value in state.items():
            if value.is_floating_point() and not value.isfinite().all():
                raise FloatingPointError(
                    f"'{name}' is not finite after epoch {len(history)}; the checkpoint before it is kept. "
                    "Try a smaller learning rate in a new folder"
                )
        if not write:
            return
        content = {
            "program": state,
            "best": best,
            "settings": self._settings,
            "optimizer": self._optimizer.state_dict(),
            "scheduler": None if self._scheduler is None else self._scheduler.state_dict(),
            "order": [order.get_state() for order in self._orders],
            "rng": ambient or [rng_state()],
            "history": history,
        }
        with written_whole(self.path) as partial, partial.open("wb") as file:
            torch.save(content, file)

    def restore(self, process: int = 0) -> tuple[list[dict[str, Any]], State | None]:
        """Put everything back as it was at the last ``save``.

        Args:
            process: Which of several processes this is.

        Returns:
            The history up to it, and the program's state after the best epoch, if one was kept.

        Raises:
            ValueError: If the file is of another program, or of a fit with other settings; names them.
        """
        content = load_checkpoint(self.path)
        self._require_same_settings(content.get("settings") or {})
        _load_program(self.path, self._program, content["program"])
        try:
            self._optimizer.load_state_dict(content["optimizer"])
        except (KeyError, ValueError) as error:
            raise ValueError(f"{self.path} has the state of another optimizer: {error}") from error
        if self._scheduler is not None and content["scheduler"] is not None:
            self._scheduler.load_state_dict(content["scheduler"])
        orders = content["order"] if isinstance(content["order"], list) else [content["order"]]
        for order, state in zip(self._orders, orders, strict=False):
            order.set_state(state)
        ambient = content["rng"] if isinstance(content["rng"], list) else [content["rng"]]
        set_rng_state(ambient[process])
        return content["history"], content.get("best")

    def _require_same_settings(self, there: Mapping[str, Any]) -> None:
        for name in self._settings.keys() & there.keys():
            if self._settings[name] != there[name]:
                raise ValueError(
                    f"{self.path} is of a fit with {name}={there[name]}, and this one has "
                    f"{name}={self._settings[name]}; go on with the former, or fit anew under another path"
                )


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, as tensors and plain values only.

    Raises:
        ValueError: If the file is no checkpoint of this package.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is no checkpoint of a fit ({type(error).__name__}: {error})") from error
    if not isinstance(content, dict) or not {"program", "history", "rng"} <= content.keys():
        raise ValueError(f"{path} is no checkpoint of a fit; remove it, or choose another folder")
    return content


def restore_program(path: Path, program: nn.Module) -> list[dict[str, Any]]:
    """Load a program's parameters and statistics from a checkpoint: of the best epoch if one was kept, or the last.

    Returns:
        The history of the fit, a row an epoch.

    Raises:
        ValueError: If the checkpoint is of another program.
    """
    content = load_checkpoint(path)
    _load_program(path, program, content.get("best") or content["program"])
    history: list[dict[str, Any]] = content["history"]
    return history


def _load_program(path: Path, program: nn.Module, state: State) -> None:
    try:
        program.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} holds another program than {type(program).__name__}: {error}") from error
