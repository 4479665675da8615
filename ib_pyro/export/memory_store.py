"""Arrays of an export in memory."""

from collections.abc import Iterable

import numpy as np
import xarray as xr

from ib_pyro.export.layout import ArraySpec
from ib_pyro.export.record import Key

__all__ = ["MemoryStore"]


class MemoryStore:
    """Arrays in memory. One whose draws all agree takes the memory of a single draw.

    Args:
        specs: The arrays.
    """

    def __init__(self, specs: Iterable[ArraySpec]) -> None:
        self._specs = {spec.key: spec for spec in specs}
        self._arrays: dict[Key, np.ndarray] = {}
        for key, spec in self._specs.items():
            shape = (1, 1, *spec.shape[2:]) if spec.repeats else spec.shape
            self._arrays[key] = np.empty(shape, spec.dtype)

    def write(self, spec: ArraySpec, rows: slice, block: np.ndarray) -> None:
        """Write the part of an array that belongs to some rows of x."""
        array = self._arrays[spec.key]
        if spec.repeats and array.shape[:2] != block.shape[:2]:
            if (block == block[:, :1]).all():
                block = block[:, :1]
            else:
                array = self._arrays[spec.key] = np.repeat(array, block.shape[1], axis=1)
        array[spec.region(rows)] = block

    def datasets(self, skeleton: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
        """Return the groups with their arrays; those whose draws agree are read-only views of one draw.

        Args:
            skeleton: Coordinates and attributes of each group.
        """
        groups = dict(skeleton)
        for (group, name), spec in self._specs.items():
            values = self._arrays[group, name]
            if values.shape != spec.shape:
                values = np.broadcast_to(values, spec.shape)
            groups[group] = groups[group].assign({name: (spec.dims, values, spec.attrs)})
        return groups
