"""The arrays of an export before there is a number in them: shapes, types and sizes."""

import math
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ib_pyro.export.names import DRAW_DIMS, check_name
from ib_pyro.export.quantities import Key, Quantity, Record

__all__ = ["ArraySpec", "as_numpy", "describe_arrays", "no_data", "require_same_variables", "rows_per_batch"]

STATIC_GROUPS = frozenset({"observed_data", "constant_data"})
DOUBLE_GROUPS = frozenset({"log_likelihood", "sample_stats"})
BLOCK_BYTES = 64 * 2**20
CHUNK_BYTES = 2 * 2**20
MOST_ROWS = 1024


@dataclass(frozen=True)
class ArraySpec:
    """One variable of the result.

    Attributes:
        group: Its group.
        name: Its name.
        dims: Names of its dimensions, ``chain`` and ``draw`` included.
        shape: Their sizes.
        dtype: Type of its elements.
        row_axis: Axis of the rows of x; None for a global variable.
        repeats: Whether nothing random was seen to go into it (the activation of a first layer), so that draws agree.
        attrs: What to say of it.
        is_label: Whether it is a truth value, and a coordinate of its group.
    """

    group: str
    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    row_axis: int | None
    repeats: bool
    attrs: dict[str, str] = field(default_factory=dict)
    is_label: bool = False

    @property
    def key(self) -> Key:
        """Group and name."""
        return self.group, self.name

    @property
    def has_draws(self) -> bool:
        """Whether the variable has the dimensions ``chain`` and ``draw``."""
        return self.group not in STATIC_GROUPS and not self.is_label

    @property
    def chain_bytes(self) -> int:
        """Size of what one chain fills, uncompressed."""
        return math.prod(self.chain_shape) * self.dtype.itemsize

    @property
    def chain_shape(self) -> tuple[int, ...]:
        """Shape of what one chain fills."""
        return (1, *self.shape[1:]) if self.has_draws else self.shape

    @property
    def held_shape(self) -> tuple[int, ...]:
        """Shape without the draws of a chain that repeat its first."""
        return (self.shape[0], 1, *self.shape[2:]) if self.repeats else self.shape

    @property
    def held_bytes(self) -> int:
        """Size without them."""
        return math.prod(self.held_shape) * self.dtype.itemsize

    def block_shape(self, num_rows: int) -> tuple[int, ...]:
        """Shape of the part of one chain that belongs to some rows of x."""
        return tuple(num_rows if axis == self.row_axis else n for axis, n in enumerate(self.chain_shape))

    def chunks(self, batch_size: int) -> tuple[int, ...]:
        """Shape of a chunk in a file: some megabytes, a chain's draws of a number of rows that divides a batch."""
        if self.row_axis is None:
            return self.chain_shape
        per_row = self.chain_bytes / self.shape[self.row_axis]
        rows = 2 ** int(math.log2(max(1, min(batch_size, self.shape[self.row_axis], CHUNK_BYTES / per_row))))
        return self.block_shape(rows)

    def region(self, rows: slice, chain: int) -> tuple[slice, ...]:
        """Index of the part of one chain that belongs to some rows of x."""
        region = [rows if axis == self.row_axis else slice(None) for axis in range(len(self.shape))]
        return (slice(chain, chain + 1), *region[1:]) if self.has_draws else tuple(region)


def describe_arrays(
    first: Record,
    second: Record,
    *,
    of_x: Container[Key],
    data_dim: str,
    num_rows: int,
    num_draws: int,
    num_chains: int,
) -> list[ArraySpec]:
    """Describe the arrays that hold ``num_draws`` draws of each chain for ``num_rows`` rows.

    Args:
        first: One draw, or static values, of any number of rows.
        second: Another draw of the same rows.
        of_x: Variables that nothing random goes into.
        data_dim: Name of the dimension of rows.
        num_rows: Number of rows of x.
        num_draws: Number of draws of a chain.
        num_chains: Number of chains.

    Raises:
        ValueError: If a variable has a dimension twice, a name that no file holds or that is a dimension's, or complex
            values; or if another draw has other variables, or other data.
    """
    require_same_variables(second, first)
    specs = []
    for (group, name), quantity in first.items():
        is_static = group in STATIC_GROUPS or quantity.is_label
        leading = () if is_static else zip(DRAW_DIMS, (num_chains, num_draws), strict=True)
        own = zip(quantity.dims, quantity.values.shape, strict=True)
        sizes = [*leading, *((dim, num_rows if dim == data_dim else n) for dim, n in own)]
        dims, shape = tuple(dim for dim, _ in sizes), tuple(n for _, n in sizes)
        dtype = as_numpy(group, quantity.values[:0] if quantity.dims else quantity.values).dtype
        _check_variable(group, name, quantity, dims, dtype)
        if is_static and not _agree(quantity.values, second[group, name].values):
            raise no_data(group, quantity.claimant)
        row_axis = dims.index(data_dim) if data_dim in dims else None
        repeats = not is_static and (group, name) in of_x
        described = dict(quantity.attrs), quantity.is_label
        specs.append(ArraySpec(group, name, dims, shape, dtype, row_axis, repeats, *described))
    _check_names(first, {dim for spec in specs for dim in spec.dims})
    return specs


def _check_variable(
    group: str, name: str, quantity: Quantity, dims: tuple[str, ...], dtype: np.dtype
) -> None:
    if len(set(dims)) < len(dims):
        raise ValueError(
            f"variable {name!r} has dimensions {quantity.dims}; they must differ from one another and from "
            "'chain' and 'draw': rename the plate, or a site's own with dims="
        )
    if dtype.kind == "c":
        raise ValueError(
            f"group {group!r}: {quantity.claimant} has complex values, which no file holds; pass "
            "torch.view_as_real(...), or leave it out with sites="
        )


def _check_names(record: Record, dims: Container[str]) -> None:
    """Raise if a variable has a name that no file holds, or that is a dimension's, whose labels would replace it."""
    for (group, name), quantity in record.items():
        check_name(name, f"group {group!r}: {quantity.claimant}")
        if name in dims:
            way_out = "" if name in DRAW_DIMS else ", or the dimension: with data_dim= or dims=, or its plate"
            raise ValueError(
                f"group {group!r}: {quantity.claimant} would be called {name!r}, as a dimension of the result is, "
                f"whose labels would replace it; rename it{way_out}"
            )


def _agree(values: Tensor, other: Tensor) -> bool:
    # Missing data are NaN, which torch.equal takes for different.
    if values.shape != other.shape or not values.is_floating_point():
        return torch.equal(values, other)
    return torch.allclose(values, other, rtol=0.0, atol=0.0, equal_nan=True)


def no_data(group: str, claimant: str) -> ValueError:
    """Return the error about what is to be the same in all draws, and is not."""
    return ValueError(
        f"group {group!r}: {claimant} has another value in another draw, and so is no data; leave the group out with "
        "groups="
    )


def require_same_variables(record: Record, expected: Iterable[Key]) -> None:
    """Raise a ValueError if a draw has other variables than those of the first."""
    other = record.keys() ^ set(expected)
    if other:
        group, name = min(other)
        masked = sorted(record[key].claimant for key in other if key in record and record[key].is_label)
        if masked:
            raise ValueError(
                f"group {group!r}: {masked[0]} is told by a mask that some batches have and the first rows have not; "
                "mask it always, with True where all is observed"
            )
        raise ValueError(
            f"group {group!r}: variable {name!r} is in some draws and not in others; an export needs the same "
            "sites in all: sample each always, and mask what does not count"
        )


def rows_per_batch(specs: list[ArraySpec]) -> int:
    """Return a number of rows whose draws take some tens of megabytes: a power of two, for aligned chunks."""
    per_row = sum(spec.chain_bytes / spec.shape[spec.row_axis] for spec in specs if spec.row_axis is not None)
    rows = max(1, min(MOST_ROWS, BLOCK_BYTES / max(per_row, 1)))
    return 2 ** int(math.log2(rows))


def as_numpy(group: str, values: Tensor) -> np.ndarray:
    """Return a tensor as an array of a type that files can hold.

    Log densities are stored in double precision: what is done with them, importance weighting, takes exponentials.

    Args:
        values: A tensor, on any device.
        group: The group that it is exported to.
    """
    values = values.detach().cpu()  # not every device has double precision
    if values.dtype == torch.bool:
        values = values.byte()
    if values.is_floating_point() and (group in DOUBLE_GROUPS or values.element_size() < 4):
        values = values.double() if group in DOUBLE_GROUPS else values.float()
    return values.numpy()
