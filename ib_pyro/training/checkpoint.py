"""Checkpoints: all that a run needs to go on as if it had never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ib_pyro.files import written_whole
from ib_pyro.training.randomness import rng_state, set_rng_state

__all__ = ["Checkpoint", "load_checkpoint", "restore_program"]


class Checkpoint:
    """The state of a fit in one file: program, optimiser, schedule, generators and the history so far.

    Args:
        path: The file, replaced in a single step by every ``save``.
        program: Module that is fitted.
        optimizer: Its optimiser.
        order: Generator that draws the order of the batches.
        scheduler: Schedule of the learning rate.
    """

    def __init__(
        self,
        path: Path,
        program: nn.Module,
        optimizer: Optimizer,
        order: torch.Generator,
        scheduler: LRScheduler | None = None,
    ) -> None:
        self.path = path
        self._program, self._optimizer, self._order, self._scheduler = program, optimizer, order, scheduler

    def save(self, history: list[dict[str, Any]]) -> None:
        """Write the state after ``len(history)`` epochs.

        Args:
            history: A row of metrics for each finished epoch.

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
        content = {
            "program": state,
            "optimizer": self._optimizer.state_dict(),
            "scheduler": None if self._scheduler is None else self._scheduler.state_dict(),
            "order": self._order.get_state(),
            "rng": rng_state(),
            "history": history,
        }
        with written_whole(self.path) as partial, partial.open("wb") as file:
            torch.save(content, file)

    def restore(self) -> list[dict[str, Any]]:
        """Put everything back as it was at the last ``save``.

        Returns:
            The history up to it.
        """
        content = load_checkpoint(self.path)
        self._program.load_state_dict(content["program"])
        self._optimizer.load_state_dict(content["optimizer"])
        if self._scheduler is not None:
            self._scheduler.load_state_dict(content["scheduler"])
        self._order.set_state(content["order"])
        set_rng_state(content["rng"])
        history: list[dict[str, Any]] = content["history"]
        return history


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
    """Load a program's parameters and statistics from a checkpoint.

    Returns:
        The history of the fit, a row an epoch.

    Raises:
        ValueError: If the checkpoint is of another program.
    """
    content = load_checkpoint(path)
    try:
        program.load_state_dict(content["program"])
    except RuntimeError as error:
        raise ValueError(f"{path} holds another program than {type(program).__name__}: {error}") from error
    history: list[dict[str, Any]] = content["history"]
    return history
