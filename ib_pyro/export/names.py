"""Names that a result can hold: those that memory, netCDF and Zarr all take, each of one thing."""

from collections.abc import Iterable, Mapping, Sequence

from ib_pyro.export.record import Record

__all__ = ["DRAW_DIMS", "check_dimensions", "check_name", "check_unique", "check_variables"]

DRAW_DIMS = ("chain", "draw")
NETCDF_PREFIX = "_nc4_non_coord_"  # with which h5netcdf marks its own


def check_name(name: object, claimant: str) -> None:
    r"""Raise unless each kind of result can hold a name.

    Zarr takes ``/`` and ``\`` for levels and a leading dot for its own, netCDF ``/`` and an empty name for none.

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


def check_variables(record: Record, dims: Iterable[str]) -> None:
    """Raise if a variable has a name that cannot be held, or that is a dimension's, whose labels would replace it.

    Args:
        record: The variables.
        dims: Names of all dimensions of the result.

    Raises:
        ValueError: Says what the name is of.
    """
    known = set(dims)
    for (group, name), quantity in record.items():
        check_name(name, f"group {group!r}: {quantity.claimant}")
        if name in known:
            way_out = "" if name in DRAW_DIMS else ", or the dimension: with data_dim= or dims=, or its plate"
            raise ValueError(
                f"group {group!r}: {quantity.claimant} would be called {name!r}, as a dimension of the result is, "
                f"whose labels would replace it; rename it{way_out}"
            )


def check_unique(names: Iterable[str], argument: str) -> None:
    """Raise a ValueError if a name occurs twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{argument}: {name!r} is named twice; name each once")
        seen.add(name)
