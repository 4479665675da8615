"""What the processes of a fit do alike, and what each does by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from ib_pyro.training.one_device import OneDevice
from ib_pyro.training.randomness import rng_state, seed_ambient

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["Processes"]

Value = TypeVar("Value")


class Processes:
    """The processes over which a fit is spread; on one device, this one alone.

    Args:
        fabric: What has launched them.

    Attributes:
        place: How many there are, and which this is.
        leads: Whether this one writes files and shows progress.
    """

    def __init__(self, fabric: Fabric | OneDevice) -> None:
        self._fabric = fabric
        self.place = int(fabric.world_size), int(fabric.global_rank)
        self.leads = self.place[1] == 0

    @property
    def _is_alone(self) -> bool:
        return self.place[0] == 1

    def same_order(self, order: torch.Generator | None) -> torch.Generator:
        """Return a generator of the samples' order that is in one state in all processes."""
        order = order or torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        if not self._is_alone:
            order.set_state(self.from_leader(order.get_state))
        return order

    def draw_apart(self) -> None:
        """Seed the noise of each process but the first by itself, out of the first one's generator."""
        if not self._is_alone:
            seed = self.from_leader(lambda: int(torch.randint(2**31, ())))
            if not self.leads:
                seed_ambient(seed + self.place[1])

    def from_leader(self, compute: Callable[[], Value]) -> Value:
        """Compute something in the first process, and return it in all, or raise in all."""
        if self._is_alone:
            return compute()
        found: Any = None
        if self.leads:
            try:
                found = compute(), None
            except Exception as failed:
                found = None, failed
        found, failure = self._fabric.broadcast(found)  # type: ignore[union-attr]
        if failure is not None:
            raise failure
        return found

    def share_buffers(self, program: nn.Module) -> None:
        """Give all processes the first one's buffers, such as batch norm's statistics, which are of its samples."""
        if not self._is_alone:
            for buffer in program.buffers():
                torch.distributed.broadcast(buffer, 0)

    def ambient(self) -> list[dict[str, Any]]:
        """Return the states of the ambient generators of all processes, in order."""
        if self._is_alone:
            return [rng_state()]
        states: list[dict[str, Any]] = [{} for _ in range(self.place[0])]
        torch.distributed.all_gather_object(states, rng_state())
        return states
