"""An export: what there is to draw, found by drawing it once, and the loop over batches of rows and draws of each."""

import warnings
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ib_pyro.choices import require_known
from ib_pyro.dependence import RANDOM, ValueTracker
from ib_pyro.export.arrays import (
    ArraySpec,
    as_numpy,
    describe_arrays,
    no_data,
    require_same_variables,
    rows_per_batch,
)
from ib_pyro.export.draws import Arguments, Draw, Sampler
from ib_pyro.export.names import Dimensions, check_dimensions, find_plate
from ib_pyro.export.program import Inputs, Program
from ib_pyro.export.quantities import Key, Quantity, Reader, Record, gather
from ib_pyro.export.random_streams import Streams
from ib_pyro.export.wishes import Wishes
from ib_pyro.sites import plates_of

__all__ = ["Arrays", "Export", "prepare"]

Arrays = MutableMapping[Key, Any]
"""Arrays by group and name, of NumPy, Zarr or netCDF: all take a block by assignment to a region."""

PREDICTIVE_GROUPS = frozenset({"posterior_predictive", "prior_predictive"})
PRIOR_GROUPS = frozenset({"prior", "prior_predictive"})
ROWS_TO_LOOK_AT = 2


@dataclass(frozen=True)
class Export:
    """Everything that an export draws from.

    Attributes:
        sampler: Draws from the program.
        reader: Reads variables off a draw.
        inputs: The arguments of model and guide.
        constants: Given values, one for each row of x.
        num_draws: Number of draws of a chain.
        num_chains: Number of chains in the result, of which this export fills one.
    """

    sampler: Sampler
    reader: Reader
    inputs: Inputs
    constants: Mapping[str, Quantity]
    num_draws: int
    num_chains: int = 1

    def describe(self, num_rows: int) -> list[ArraySpec]:
        """Describe the arrays, from a look at the first ``num_rows`` rows."""
        rows = slice(0, num_rows)
        with ValueTracker() as tracker:
            first = self._record(None, rows)
            of_x = {key for key, q in first.items() if RANDOM not in tracker.marks_of([q.values])}
        return describe_arrays(
            first,
            self._record(None, rows),
            of_x=of_x,
            data_dim=self.reader.dimensions.data_dim,
            num_rows=self.inputs.num_rows,
            num_draws=self.num_draws,
            num_chains=self.num_chains,
        )

    def fill(self, arrays: Arrays, specs: list[ArraySpec], batch_size: int, chain: int = 0) -> None:
        """Draw everything, and write it batch by batch.

        Args:
            arrays: Where it goes.
            specs: The arrays, as described.
            batch_size: Number of rows of x that the program sees at once.
            chain: The chain to fill; what has none is written with the first.
        """
        whole: dict[Key, np.ndarray] = {}
        keys = {spec.key for spec in specs}
        for start in range(0, self.inputs.num_rows, batch_size):
            rows = slice(start, min(start + batch_size, self.inputs.num_rows))
            blocks = {spec.key: np.empty(spec.block_shape(rows.stop - start), spec.dtype) for spec in specs}
            for index in range(self.num_draws):
                record = self._record(index, rows)
                record |= _labels_of_all_observed(specs, record, rows)
                require_same_variables(record, keys)
                for spec in specs:
                    if spec.has_draws or index == 0:
                        target = (0, index) if spec.has_draws else ...
                        _put(blocks[spec.key], target, spec, record[spec.key])
                    elif spec.group != "constant_data":
                        _require_same_data(spec, blocks[spec.key], record[spec.key])
            for spec in specs:
                # What has no rows is the same for every batch, and is written with the first.
                if spec.row_axis is not None or start == 0:
                    if spec.has_draws or chain == 0:
                        _write(arrays, spec, rows, chain, blocks[spec.key])
                    elif spec.group != "constant_data":
                        _require_data_of_first_chain(spec, blocks[spec.key], arrays[spec.key], rows, chain)
                else:
                    _require_same(spec, blocks[spec.key], whole[spec.key])
            whole = whole or {spec.key: blocks[spec.key] for spec in specs if spec.row_axis is None}

    def _record(self, index: int | None, rows: slice) -> Record:
        args, groups = self.inputs.rows(rows), self.reader.groups
        draw = self.sampler.posterior(index, args)
        predictive = self.sampler.predictive(draw, args) if "posterior_predictive" in groups else {}
        parts = [self.reader.draw(draw, predictive), self.reader.observed(draw)]
        if groups & PRIOR_GROUPS:
            parts.append(self.reader.prior(self.sampler.prior(index, args, draw), draw))
        if "constant_data" in groups:
            given = self.constants.items()
            parts.append((("constant_data", n), q._replace(values=q.values[rows])) for n, q in given)
        return gather(*parts)


def prepare(
    program: Program, inputs: Inputs, wishes: Wishes, streams: Streams, num_chains: int = 1
) -> tuple[Export, list[ArraySpec], int]:
    """Look at a program through the first rows of x.

    Args:
        program: The program.
        inputs: Its arguments.
        wishes: What is asked for.
        streams: Where to draw from.
        num_chains: Number of chains in the result, of which this program fills one.

    Returns:
        The export, its arrays, and the number of rows of a batch.

    Raises:
        ValueError: If a group, site or plate does not exist, two things would have one name, or x cannot be cut into
            batches.
    """
    num_rows = inputs.num_rows
    look = min(num_rows, wishes.batch_size or (ROWS_TO_LOOK_AT if program.is_amortised else num_rows))
    sampler = Sampler(program, streams)
    rows = inputs.rows(slice(0, look))
    draw = sampler.posterior(None, rows)
    plate = find_plate((draw.with_density or draw.predicted).values(), look, wishes.plate)
    if plate is None and look < num_rows:
        raise ValueError(
            "no plate around the observed sites has the size of a batch of x, so that x cannot be cut into batches; "
            "leave batch_size out, or put the rows of x in a pyro.plate"
        )
    has_prior = _sites_with_a_prior(sampler, rows, draw, wishes)
    groups = wishes.groups_of(draw, has_prior)
    dimensions = _dimensions(draw, plate, wishes)
    reader = Reader(groups, wishes.sites_of(draw), dimensions)
    constants = _constants(num_rows, wishes, dimensions)
    export = Export(sampler, reader, inputs, constants, int(wishes.num_samples), num_chains)
    specs = export.describe(look)
    default = rows_per_batch(specs) if program.is_amortised else num_rows
    batch_size = min(wishes.batch_size or default, num_rows)
    if batch_size < num_rows:
        sampler.plate = plate
    return export, specs, batch_size


def _dimensions(draw: Draw, plate: str | None, wishes: Wishes) -> Dimensions:
    sites = (*draw.model.values(), *draw.guide.values())
    plates = frozenset(name for site in sites for name in plates_of(site))
    check_dimensions(wishes.data_dim, plate, plates, wishes.dims)
    known = {*draw.model, *draw.latent, "index", *wishes.constant_data}
    for site in wishes.dims:
        require_known("dims: site", site, known)
    return Dimensions(plate, wishes.data_dim, wishes.dims, plates)


def _sites_with_a_prior(sampler: Sampler, rows: Arguments, draw: Draw, wishes: Wishes) -> frozenset[str]:
    """Return the sites that the model alone can draw; if these are some and not all, say which are not."""
    wanted = wishes.possible_groups() & PRIOR_GROUPS
    if not wanted or not draw.latent:
        return frozenset()
    sites = frozenset([*draw.latent, *draw.observed, *draw.predicted])
    try:
        sampler.prior(None, rows, draw)
    except NotImplementedError:
        improper, behind = sampler.find_improper(rows, draw)
        kept = sites - improper - behind
        if kept & frozenset(draw.latent):
            _warn_of_improper(improper, behind & sites, draw)
            return kept
        return frozenset()
    return sites


def _warn_of_improper(improper: Collection[str], behind: Collection[str], draw: Draw) -> None:
    first, *others = sorted(improper)
    named = f"site {first!r}" if not others else f"sites {sorted(improper)}"
    depending = [
        f"{name!r} of the group {'prior' if name in draw.latent else 'prior_predictive'!r}"
        for name in sorted(behind)
    ]
    also = f", and with it {', '.join(depending)}, which depends on it" if depending else ""
    warnings.warn(
        f"{named}: no proper prior to draw from; left out of the group 'prior'{also}. Give the layer a log-normal one "
        "(activation='softplus', prior='log-normal') to have its draws",
        stacklevel=6,
    )


def _constants(num_rows: int, wishes: Wishes, dimensions: Dimensions) -> dict[str, Quantity]:
    constants = {}
    for name, given in {"index": torch.arange(num_rows), **wishes.constant_data}.items():
        values = torch.as_tensor(given)
        dims = (dimensions.data_dim, *dimensions.own(name, values.dim() - 1))
        constants[name] = Quantity(values, dims, claimant=f"the given {name!r}")
    return constants


def _labels_of_all_observed(specs: list[ArraySpec], record: Record, rows: slice) -> Record:
    """Return the labels of what is masked in other batches and in this one is not: everything is observed."""
    return {
        spec.key: Quantity(torch.ones(spec.block_shape(rows.stop - rows.start), dtype=torch.bool), spec.dims)
        for spec in specs
        if spec.is_label and spec.key not in record
    }


def _put(block: np.ndarray, target: Any, spec: ArraySpec, quantity: Quantity) -> None:  # noqa: ANN401 (an index)
    values, part = as_numpy(spec.group, quantity.values), block[target]
    if values.shape != part.shape:
        raise ValueError(
            f"{quantity.claimant}: variable {spec.name!r} has shape {values.shape} in one draw where others have "
            f"{part.shape}; an array needs one shape: pad what is shorter, and mask it"
        )
    block[target] = values


def _require_same_data(spec: ArraySpec, block: np.ndarray, quantity: Quantity) -> None:
    """Raise if what stands once for all draws is another in this one."""
    if not np.array_equal(as_numpy(spec.group, quantity.values), block, equal_nan=block.dtype.kind == "f"):
        raise no_data(spec.group, quantity.claimant)


def _require_data_of_first_chain(
    spec: ArraySpec,
    block: np.ndarray,
    array: Any,  # noqa: ANN401 (NumPy's, Zarr's or netCDF's)
    rows: slice,
    chain: int,
) -> None:
    """Raise if what stands once for all chains is another in this one."""
    first = np.asarray(array[spec.region(rows, chain)])
    if not np.array_equal(first, block, equal_nan=block.dtype.kind == "f"):
        raise ValueError(
            f"program: {spec.name!r} of the group {spec.group!r} has other values of program {chain} than of program "
            "0; chains share what is observed: export them apart"
        )


def _write(arrays: Arrays, spec: ArraySpec, rows: slice, chain: int, block: np.ndarray) -> None:
    array = arrays[spec.key]
    if array.shape != spec.shape:
        # One draw is held for all. A program may still depend on other things in these rows than in the first, or
        # draw without PyTorch: where draws differ, all are kept.
        first = block[:, :1]
        if np.array_equal(block, np.broadcast_to(first, block.shape), equal_nan=True):
            block = first
        else:
            array = arrays[spec.key] = np.repeat(array, spec.shape[1], axis=1)
    array[spec.region(rows, chain)] = block


def _require_same(spec: ArraySpec, block: np.ndarray, first: np.ndarray) -> None:
    """Raise unless what is outside of the plate over x was the same for this batch as for the first."""
    if spec.group not in PREDICTIVE_GROUPS and not np.allclose(block, first, rtol=1e-4, equal_nan=True):
        raise ValueError(
            f"group {spec.group!r}: variable {spec.name!r} is outside of the plate over x, and yet differs from batch "
            "to batch: it depends on the rows in it; leave batch_size out, or put it in the plate"
        )
