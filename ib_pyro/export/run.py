"""The loop of an export: batches of rows, draws of each, and the arrays they go to."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ib_pyro.export.draws import Sampler
from ib_pyro.export.groups import PRIOR_GROUPS
from ib_pyro.export.inputs import Inputs
from ib_pyro.export.layout import ArraySpec, as_numpy, describe_arrays, require_same_variables
from ib_pyro.export.quantities import Reader
from ib_pyro.export.record import Key, Quantity, Record, gather

__all__ = ["Export", "Store"]

PREDICTIVE_GROUPS = frozenset({"posterior_predictive", "prior_predictive"})


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
        inputs: The arguments of model and guide.
        constants: Given values, one for each row of x.
        num_draws: Number of draws.
    """

    sampler: Sampler
    reader: Reader
    inputs: Inputs
    constants: dict[str, Quantity]
    num_draws: int

    @property
    def num_rows(self) -> int:
        """Number of rows of x."""
        return self.inputs.num_rows

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
        whole: dict[Key, np.ndarray] = {}
        keys = {spec.key for spec in specs}
        for start in range(0, self.num_rows, batch_size):
            rows = slice(start, min(start + batch_size, self.num_rows))
            blocks = {spec.key: np.empty(spec.block_shape(rows.stop - start), spec.dtype) for spec in specs}
            for index in range(self.num_draws):
                record = self._record(index, rows)
                require_same_variables(record, keys)
                for spec in specs:
                    target = (0, index) if spec.has_draws else ...
                    _put(blocks[spec.key], target, spec, record[spec.key])
            for spec in specs:
                # What has no rows is the same for every batch, and is written with the first.
                if spec.row_axis is not None or start == 0:
                    store.write(spec, rows, blocks[spec.key])
                else:
                    _require_same(spec, blocks[spec.key], whole[spec.key])
            whole = whole or {spec.key: blocks[spec.key] for spec in specs if spec.row_axis is None}

    def _record(self, index: int | None, rows: slice) -> Record:
        args, groups = self.inputs.rows(rows), self.reader.groups
        draw = self.sampler.posterior(index, args)
        predictive = self.sampler.predictive(draw, args) if "posterior_predictive" in groups else {}
        parts = [self.reader.draw(draw, predictive), self.reader.observed(draw)]
        if groups & PRIOR_GROUPS:
            parts.append(self.reader.prior(self.sampler.prior(index, args), draw))
        if "constant_data" in groups:
            given = self.constants.items()
            parts.append((("constant_data", n), q._replace(values=q.values[rows])) for n, q in given)
        return gather(*parts)


def _put(block: np.ndarray, target: Any, spec: ArraySpec, quantity: Quantity) -> None:  # noqa: ANN401 (an index)
    values, part = as_numpy(spec.group, quantity.values), block[target]
    if values.shape != part.shape:
        raise ValueError(
            f"{quantity.claimant}: variable {spec.name!r} has shape {values.shape} in one draw where others have "
            f"{part.shape}; an array needs one shape: pad what is shorter, and mask it"
        )
    block[target] = values


def _require_same(spec: ArraySpec, block: np.ndarray, first: np.ndarray) -> None:
    """Raise unless what is outside of the plate over x was the same for this batch as for the first."""
    if spec.group not in PREDICTIVE_GROUPS and not np.allclose(block, first, rtol=1e-4, equal_nan=True):
        raise ValueError(
            f"group {spec.group!r}: variable {spec.name!r} is outside of the plate over x, and yet differs from batch "
            "to batch: it depends on the rows in it; leave batch_size out, or put it in the plate"
        )
