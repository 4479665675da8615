"""The loop of an export: batches of rows, draws of each, and the arrays they go to."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from ib_pyro.export.draws import Sampler
from ib_pyro.export.groups import PRIOR_GROUPS
from ib_pyro.export.layout import ArraySpec, as_numpy, describe_arrays
from ib_pyro.export.quantities import Quantity, Reader, Record

__all__ = ["Export", "Store"]


class Store(Protocol):
    """Takes arrays in parts."""

    def write(self, spec: ArraySpec, rows: slice, block: np.ndarray) -> None:
        """Write the part of an array that belongs to some rows of x."""


@dataclass(frozen=True)
class Export:
    """Everything that an export draws from.

    Attributes:
        sampler: Draws from the program.
        reader: Reads variables off a draw.
        data: The arguments of model and guide: x, or x and y.
        constants: Given values, one for each row of x.
        num_draws: Number of draws.
    """

    sampler: Sampler
    reader: Reader
    data: tuple[Tensor, ...]
    constants: dict[str, Quantity]
    num_draws: int

    @property
    def num_rows(self) -> int:
        """Number of rows of x."""
        return len(self.data[0])

    def describe(self, num_rows: int) -> list[ArraySpec]:
        """Describe the arrays, from two draws for the first ``num_rows`` rows."""
        first, second = (self._record(None, slice(0, num_rows)) for _ in range(2))
        data_dim = self.reader.dimensions.data_dim
        return describe_arrays(
            first, second, data_dim=data_dim, num_rows=self.num_rows, num_draws=self.num_draws
        )

    def fill(self, store: Store, specs: list[ArraySpec], batch_size: int) -> None:
        """Draw everything, and write it batch by batch.

        Args:
            store: Where it goes.
            specs: The arrays, as described.
            batch_size: Number of rows of x that the program sees at once.
        """
        for start in range(0, self.num_rows, batch_size):
            rows = slice(start, min(start + batch_size, self.num_rows))
            # What has no rows is the same for every batch, and is written with the first.
            due = [spec for spec in specs if spec.row_axis is not None or start == 0]
            blocks = [np.empty(spec.block_shape(rows.stop - start), spec.dtype) for spec in due]
            for index in range(self.num_draws):
                record = self._record(index, rows)
                for spec, block in zip(due, blocks, strict=True):
                    target = (0, index) if spec.has_draws else ...
                    block[target] = as_numpy(spec.group, record[spec.key].values)
            for spec, block in zip(due, blocks, strict=True):
                store.write(spec, rows, block)

    def _record(self, index: int | None, rows: slice) -> Record:
        args, groups = tuple(tensor[rows] for tensor in self.data), self.reader.groups
        draw = self.sampler.posterior(index, args)
        predictive = self.sampler.predictive(draw, args) if "posterior_predictive" in groups else {}
        record = self.reader.draw(draw, predictive) | self.reader.observed(draw)
        if groups & PRIOR_GROUPS:
            record |= self.reader.prior(self.sampler.prior(index, args), draw)
        if "constant_data" in groups:
            given = self.constants.items()
            record |= {("constant_data", n): q._replace(values=q.values[rows]) for n, q in given}
        return record
