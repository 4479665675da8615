"""Names in a result: of dimensions, found or given, and what any may be that memory, netCDF and Zarr all take."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from ib_pyro.sites import Site

__all__ = [
    "DRAW_DIMS",
    "Dimensions",
    "as_labels",
    "as_row_labels",
    "check_dimensions",
    "check_name",
    "check_unique",
    "find_plate",
]

DRAW_DIMS = ("chain", "draw")
LAYER_DIMS = {1: ("unit",), 2: ("channel", "position"), 3: ("channel", "height", "width")}
NETCDF_PREFIX = "_nc4_non_coord_"  # with which h5netcdf marks its own


def check_name(name: object, claimant: str) -> None:
    r"""Raise unless each kind of result can hold a name.

    Zarr takes ``/`` and ``\`` for levels and a leading dot for its own, netCDF ``/`` and an empty name for none.

    Args:
        name: The name.
        claimant: What it is of.

    Raises:
        ValueError: Says what the name is of, and what is wrong with it.
    """
    if not isinstance(name, str):
        wrong = f"is a {type(name).__name__}, not a string"
    elif not name:
        wrong = "is empty"
    elif "/" in name or "\\" in name:
        wrong = "has a slash, which files take for a level (pyro.contrib.autoname.scope puts one there)"
    elif name.startswith((".", NETCDF_PREFIX)):
        wrong = f"begins with {'.' if name[0] == '.' else NETCDF_PREFIX}, as names do that files keep for themselves"
    elif not name.isprintable():
        wrong = "has characters that cannot be printed"
    else:
        return
    raise ValueError(f"{claimant}: the name {name!r} {wrong}; no file holds it: rename it")


def check_dimensions(
    data_dim: str, plate: str | None, plates: Iterable[str], given: Mapping[str, Sequence[str]]
) -> None:
    """Raise unless the names of dimensions are those of one thing each.

    Args:
        data_dim: Name for the rows of x.
        plate: The plate over them.
        plates: All plates of the program.
        given: The user's names for the dimensions of one sample of a site.

    Raises:
        ValueError: Names what would share a name, and the way out.
    """
    check_name(data_dim, "data_dim")
    if data_dim in DRAW_DIMS:
        raise ValueError(f"data_dim={data_dim!r} is the name of the draws' own dimension; choose another")
    for name in sorted(set(plates) - {plate}):
        check_name(name, f"plate {name!r}")
        if name == data_dim:
            raise ValueError(
                f"plate {name!r} and the rows of x would share a dimension; name the rows with data_dim="
            )
        if name in DRAW_DIMS:
            raise ValueError(f"plate {name!r}: the draws have a dimension of that name; rename the plate")
    for site, names in given.items():
        if isinstance(names, str):
            raise ValueError(f"dims[{site!r}]={names!r} is one string; pass a list of names, as [{names!r}]")
        for name in names:
            check_name(name, f"dims[{site!r}]")
            if name in DRAW_DIMS:
                raise ValueError(f"dims[{site!r}]: the draws have a dimension {name!r}; choose another name")
        check_unique(names, f"dims[{site!r}]")


def check_unique(names: Iterable[str], argument: str) -> None:
    """Raise a ValueError if a name occurs twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{argument}: {name!r} is named twice; name each once")
        seen.add(name)


def as_labels(given: Tensor | Sequence[Any], claimant: str) -> np.ndarray:
    """Return labels as an array, once it is known that none is missing that a file would hold as an empty string.

    Args:
        given: The labels.
        claimant: What to call them in an error.

    Raises:
        ValueError: If one is None, or no value beside strings.
    """
    values = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    if values.dtype.kind in "OUS":
        # xarray brings it, and takes as long to import: not before it is needed.
        import pandas as pd  # type: ignore[import-untyped]

        # NumPy makes the string 'nan' of a missing number in a list of strings.
        objects = np.asarray(given, dtype=object).ravel()
        for place in np.flatnonzero(pd.isna(objects)):
            raise ValueError(
                f"{claimant}: label {place} of {len(objects)} is {objects[place]!r}, which a file would hold as an "
                "empty one; give what has no label one of its own, such as 'none'"
            )
    return values


def as_row_labels(labels: Mapping[str, Tensor | Sequence[Any]], num_rows: int) -> dict[str, np.ndarray]:
    """Return labels of the rows of x as arrays, once it is known that each row has one.

    Raises:
        ValueError: If a name is none that a file holds, there are more or fewer labels than rows, or one is missing.
    """
    arrays = {}
    for name, given in labels.items():
        check_name(name, "labels")
        values = as_labels(given, f"labels[{name!r}]")
        if values.shape != (num_rows,):
            raise ValueError(
                f"labels[{name!r}]: shape {values.shape} for {num_rows} rows in x; pass one for each"
            )
        arrays[name] = values
    return arrays


@dataclass(frozen=True)
class Dimensions:
    """How dimensions are called.

    Attributes:
        plate: Name of the plate over the rows of x; None if there is none.
        data_dim: Name of the dimension that this plate becomes; other plates keep their own names.
        given: The user's names for the dimensions of one sample of a site.
        plates: Names of all plates.
    """

    plate: str | None
    data_dim: str
    given: Mapping[str, Sequence[str]] = field(default_factory=dict)
    plates: frozenset[str] = frozenset()

    def own(self, site: str, ndim: int, *, is_layer: bool = False) -> tuple[str, ...]:
        """Return the names of a site's own dimensions, those of one sample.

        Args:
            site: Name of the site.
            ndim: Number of its dimensions.
            is_layer: Whether the site is a layer's, with units or channels; images are taken for one.

        Raises:
            ValueError: If the user named another number of dimensions, or a plate has the name of one.
        """
        if site in self.given:
            if len(self.given[site]) != ndim:
                raise ValueError(
                    f"dims[{site!r}] names {len(self.given[site])} dimensions {list(self.given[site])}, but one "
                    f"sample of site {site!r} has {ndim}; name those right of its plates"
                )
            return tuple(self.given[site])
        is_named = is_layer and ndim in LAYER_DIMS or ndim == 3
        parts = LAYER_DIMS[ndim] if is_named else tuple(f"dim_{axis}" for axis in range(ndim))
        names = tuple(f"{site}_{part}" for part in parts)
        for name in {*names} & {*self.plates - {self.plate}, self.data_dim}:
            raise ValueError(
                f"site {site!r}: a dimension of its own would be called {name!r}, as a plate or that of the rows "
                f"is; name those of the site with dims={{{site!r}: [...]}}"
            )
        return names

    def place(self, values: Tensor, site: Site, own: tuple[str, ...] = ()) -> tuple[Tensor, tuple[str, ...]]:
        """Name the dimensions of a site's values, rows of x first.

        Args:
            values: Of the site's batch shape, followed by its own dimensions.
            site: The site's message.
            own: Names of its own dimensions.

        Returns:
            The values, without batch dimensions of size one that are no plate's, and a name for each that is left.
        """
        batch_ndim = values.dim() - len(own)
        frames = {frame.dim: frame.name for frame in site["cond_indep_stack"] if frame.vectorized}
        names: list[str] = []
        for axis in reversed(range(batch_ndim)):
            plate = frames.get(axis - batch_ndim)
            if plate is None and values.shape[axis] == 1:
                values = values.squeeze(axis)
            elif plate is None:
                names.insert(0, f"{site['name']}_batch_{axis}")
            else:
                names.insert(0, self.data_dim if plate == self.plate else plate)
        names += own
        if self.data_dim in names:
            rows = names.index(self.data_dim)
            values = values.movedim(rows, 0)
            names.insert(0, names.pop(rows))
        return values, tuple(names)


def find_plate(sites: Iterable[Site], num_rows: int, plate: str | None) -> str | None:
    """Return the name of the plate over the rows of x, which all observed sites share, or if none does some are in.

    Args:
        sites: Observed (or predicted) sites, bare factors among them.
        num_rows: Number of rows of x.
        plate: Its name, if the user says so.

    Returns:
        The name, or None if no plate has the size of x.

    Raises:
        ValueError: If several plates have that size, the named one has not, or a plate subsamples x.
    """
    stacks = [[f for f in site["cond_indep_stack"] if f.vectorized] for site in sites]
    frames = {frame.name: frame for stack in stacks for frame in stack}
    fitting = sorted(name for name, frame in frames.items() if frame.size == num_rows)
    if plate is not None:
        if plate not in fitting:
            sizes = {name: frames[name].size for name in sorted(frames)}
            raise ValueError(f"plate={plate!r} is no plate over the {num_rows} rows of x; there are {sizes}")
        return plate
    shared = [name for name in fitting if all(name in {f.name for f in stack} for stack in stacks)]
    fitting = shared or fitting
    if len(fitting) > 1:
        raise ValueError(
            f"plates {fitting} all have the size of x, {num_rows}; name the one over x with plate="
        )
    if not fitting:
        _refuse_subsampling(frames.values(), num_rows)
    return fitting[0] if fitting else None


def _refuse_subsampling(frames: Iterable[Any], num_rows: int) -> None:
    for frame in frames:
        if frame.full_size == num_rows != frame.size:
            raise ValueError(
                f"plate {frame.name!r} draws {frame.size} of the {num_rows} rows of x itself, so that its values "
                "would not line up with x; export with the plate's full size, and cut x with batch_size="
            )
