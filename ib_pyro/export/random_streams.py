"""Random streams of an export: the draws of z from one, and those of y and of the prior from others of their own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

__all__ = ["Streams"]

BESIDE = ("model", "predictive", "prior")
SEEDS = 2**62


@dataclass(frozen=True)
class _Generator:
    """One of torch's ambient generators: how its state is asked for, set, and made of a seed."""

    get: Callable[[], Tensor]
    set: Callable[[Tensor], None]
    device: str

    def state_of(self, seed: int) -> Tensor:
        return torch.Generator(self.device).manual_seed(seed).get_state()


class Streams:
    """Streams beside the ambient one, from which a guide draws; their seeds are drawn from that.

    What is drawn inside of ``apart`` leaves the ambient generators as they were: no draw outside depends on it.

    Args:
        device: Where a program draws its noise; the CPU's generator is always among those kept apart.
    """

    def __init__(self, device: torch.device) -> None:
        self._generators = tuple(_ambient_generators(device))
        seeds = torch.randint(SEEDS, (len(BESIDE),), device="cpu").tolist()
        self._states = {
            name: [generator.state_of(seed) for generator in self._generators]
            for name, seed in zip(BESIDE, seeds, strict=True)
        }

    @contextmanager
    def apart(self, name: str) -> Iterator[None]:
        """Draw from another stream inside: that of the ``"model"``, the ``"predictive"`` or the ``"prior"`` draws."""
        ambient = self._get()
        self._set(self._states[name])
        try:
            yield
        finally:
            self._states[name] = self._get()
            self._set(ambient)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Put all streams, the ambient one among them, back to where they were."""
        ambient, others = self._get(), dict(self._states)
        try:
            yield
        finally:
            self._set(ambient)
            self._states = others

    def _get(self) -> list[Tensor]:
        return [generator.get() for generator in self._generators]

    def _set(self, states: list[Tensor]) -> None:
        for generator, state in zip(self._generators, states, strict=True):
            generator.set(state)


def _ambient_generators(device: torch.device) -> Iterator[_Generator]:
    yield _Generator(torch.get_rng_state, torch.set_rng_state, "cpu")
    kind = "cuda" if device.type == "cpu" else device.type
    module: Any = getattr(torch, kind, None)
    if kind == "mps":
        yield _Generator(torch.mps.get_rng_state, torch.mps.set_rng_state, kind)
    # To ask for a device's generator would start the device, where nothing is drawn on it.
    elif hasattr(module, "is_initialized") and module.is_initialized():
        for index in range(module.device_count()):
            get, put = partial(module.get_rng_state, index), partial(module.set_rng_state, device=index)
            yield _Generator(get, put, f"{kind}:{index}")
