"""From arguments to an export: what there is to draw, found by drawing it once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ib_pyro.choices import require_known
from ib_pyro.export.dimensions import Dimensions, find_plate
from ib_pyro.export.draws import Draw, Sampler
from ib_pyro.export.groups import PRIOR_GROUPS, check_groups, resolve_groups, resolve_sites
from ib_pyro.export.inputs import Inputs
from ib_pyro.export.layout import ArraySpec, rows_per_batch
from ib_pyro.export.names import check_dimensions, check_name
from ib_pyro.export.program import Program
from ib_pyro.export.quantities import Reader
from ib_pyro.export.record import Quantity
from ib_pyro.export.run import Export
from ib_pyro.sites import plates_of

__all__ = ["Wishes", "check_wishes", "prepare"]

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


def check_wishes(wishes: Wishes, num_rows: int) -> None:
    """Raise an error that says which argument does not fit, if one does not, before anything is drawn."""
    check_groups(wishes.groups)
    for name, values in wishes.constant_data.items():
        check_name(name, "constant_data")
        shape = torch.as_tensor(values).shape
        if not shape or shape[0] != num_rows:
            raise ValueError(
                f"{name}: {shape[0] if shape else 'no'} rows for {num_rows} in x; pass one for each"
            )
    for name in ("num_samples", "batch_size"):
        value = getattr(wishes, name)
        if value is None:
            continue
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(f"{name} must be a whole number; got {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")


def prepare(program: Program, inputs: Inputs, wishes: Wishes) -> tuple[Export, list[ArraySpec], int]:
    """Look at a program through the first rows of x.

    Args:
        program: The program.
        inputs: Its arguments.
        wishes: What is asked for.

    Returns:
        The export, its arrays, and the number of rows of a batch.

    Raises:
        ValueError: If a group, site or plate does not exist, two things would have one name, or x cannot be cut into
            batches.
    """
    num_rows = inputs.num_rows
    look = min(num_rows, wishes.batch_size or (ROWS_TO_LOOK_AT if program.is_amortised else num_rows))
    sampler = Sampler(program)
    rows = inputs.rows(slice(0, look))
    draw = sampler.posterior(None, rows)
    plate = find_plate((draw.with_density or draw.predicted).values(), look, wishes.plate)
    if plate is None and look < num_rows:
        raise ValueError(
            "no plate around the observed sites has the size of a batch of x, so that x cannot be cut into batches; "
            "leave batch_size out, or put the rows of x in a pyro.plate"
        )
    is_proper = _has_proper_prior(sampler, rows, wishes)
    groups = resolve_groups(wishes.groups, draw, prior_is_proper=is_proper)
    dimensions = _dimensions(draw, plate, wishes)
    reader = Reader(groups, resolve_sites(wishes.sites, draw), dimensions)
    constants = _constants(num_rows, wishes, dimensions)
    export = Export(sampler, reader, inputs, constants, int(wishes.num_samples))
    specs = export.describe(look)
    default = rows_per_batch(specs) if program.is_amortised else num_rows
    batch_size = min(wishes.batch_size or default, num_rows)
    if batch_size < num_rows:
        sampler.plate = plate
    return export, specs, batch_size


def _dimensions(draw: Draw, plate: str | None, wishes: Wishes) -> Dimensions:
    plates = frozenset(
        name for side in (draw.model, draw.guide) for s in side.values() for name in plates_of(s)
    )
    check_dimensions(wishes.data_dim, plate, plates, wishes.dims)
    known = {*draw.model, *draw.latent, "index", *wishes.constant_data}
    for site in wishes.dims:
        require_known("dims: site", site, known)
    return Dimensions(plate, wishes.data_dim, wishes.dims, plates)


def _has_proper_prior(sampler: Sampler, rows: tuple[Any, ...], wishes: Wishes) -> bool:
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
        constants[name] = Quantity(values, (dimensions.data_dim, *own), claimant=f"the given {name!r}")
    return constants
