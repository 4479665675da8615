"""From arguments to an export: what there is to draw, found by drawing it once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ib_pyro.export.dimensions import Dimensions, find_plate
from ib_pyro.export.draws import Sampler
from ib_pyro.export.groups import PRIOR_GROUPS, check_groups, resolve_groups, resolve_sites
from ib_pyro.export.layout import ArraySpec, rows_per_batch
from ib_pyro.export.program import Program
from ib_pyro.export.quantities import Quantity, Reader
from ib_pyro.export.run import Export

__all__ = ["Wishes", "check_data", "prepare"]

ROWS_TO_LOOK_AT = 2


@dataclass(frozen=True)
class Wishes:
    """What a user asks of an export; see :func:`ib_pyro.to_arviz`."""

    num_samples: int
    sites: Iterable[str] | None
    groups: Iterable[str] | None
    batch_size: int | None
    constant_data: Mapping[str, Tensor]
    dims: Mapping[str, Sequence[str]]
    data_dim: str
    plate: str | None


def check_data(x: Tensor, y: Tensor | None, wishes: Wishes) -> None:
    """Raise a ValueError that says which argument does not fit, if one does not."""
    check_groups(wishes.groups)
    if x.dim() == 0 or len(x) == 0:
        raise ValueError(f"x: expected at least one row [N, ...]; got shape {tuple(x.shape)}")
    given = wishes.constant_data if y is None else {"y": y, **wishes.constant_data}
    for name, values in given.items():
        if len(values) != len(x):
            raise ValueError(f"{name}: {len(values)} rows for {len(x)} in x; pass one for each")
    for name in ("num_samples", "batch_size"):
        value = getattr(wishes, name)
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")


def prepare(
    program: Program, data: tuple[Tensor, ...], wishes: Wishes
) -> tuple[Export, list[ArraySpec], int]:
    """Look at a program through the first rows of x.

    Args:
        program: The program.
        data: Its arguments, x or x and y.
        wishes: What is asked for.

    Returns:
        The export, its arrays, and the number of rows of a batch.

    Raises:
        ValueError: If a group, site or plate does not exist, or x cannot be cut into batches.
    """
    num_rows = len(data[0])
    look = min(num_rows, wishes.batch_size or (ROWS_TO_LOOK_AT if program.is_amortised else num_rows))
    sampler = Sampler(program)
    rows = tuple(tensor[:look] for tensor in data)
    draw = sampler.posterior(None, rows)
    plate = find_plate((draw.observed or draw.predicted).values(), look, wishes.plate)
    if plate is None and look < num_rows:
        raise ValueError(
            "no plate around the observed sites has the size of a batch of x, so that x cannot be cut into batches; "
            "leave batch_size out, or put the rows of x in a pyro.plate"
        )
    is_proper = _has_proper_prior(sampler, rows, wishes)
    groups = resolve_groups(wishes.groups, draw, prior_is_proper=is_proper)
    dimensions = Dimensions(plate, wishes.data_dim, wishes.dims)
    reader = Reader(groups, resolve_sites(wishes.sites, draw), dimensions)
    constants = _constants(num_rows, wishes, dimensions)
    export = Export(sampler, reader, data, constants, wishes.num_samples)
    specs = export.describe(look)
    default = rows_per_batch(specs) if program.is_amortised else num_rows
    batch_size = min(wishes.batch_size or default, num_rows)
    if batch_size < num_rows:
        sampler.plate = plate
    return export, specs, batch_size


def _has_proper_prior(sampler: Sampler, rows: tuple[Tensor, ...], wishes: Wishes) -> bool:
    if not check_groups(wishes.groups) & PRIOR_GROUPS:
        return False
    try:
        sampler.prior(None, rows)
    except NotImplementedError:
        return False
    return True


def _constants(num_rows: int, wishes: Wishes, dimensions: Dimensions) -> dict[str, Quantity]:
    given = {"index": torch.arange(num_rows), **wishes.constant_data}
    constants = {}
    for name, values in given.items():
        values = torch.as_tensor(values)
        own = dimensions.own(name, values.dim() - 1)
        constants[name] = Quantity(values, (dimensions.data_dim, *own))
    return constants
