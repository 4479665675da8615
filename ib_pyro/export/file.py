"""The file of an export: its format, its arrays, its size, and whether it can be written."""

import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from ib_pyro.export.arrays import ArraySpec
from ib_pyro.export.quantities import Key

__all__ = ["announce_size", "arrays_in", "check_path", "engine_of", "opened"]

ENGINES = {".zarr": "zarr", ".nc": "h5netcdf", ".netcdf": "h5netcdf"}
ANNOUNCED_BYTES = 10**9


def engine_of(path: Path) -> str:
    """Return what reads a path, as xarray calls it.

    Raises:
        ValueError: If the suffix is unknown.
    """
    if path.suffix not in ENGINES:
        raise ValueError(
            f"path={str(path)!r}: the suffix says the format; use .zarr for a Zarr store, .nc for netCDF"
        )
    return ENGINES[path.suffix]


def opened(path: Path) -> Any:  # noqa: ANN401 (whatever the format's library reads from)
    """Return what a result reads its arrays from, which is never what another export puts in its place."""
    if engine_of(path) != "zarr":
        return path  # the file stays open, and what is put in its place is another
    from ib_pyro.export.written_store import WrittenStore

    return WrittenStore(path.absolute(), read_only=True)


def check_path(path: Path, *, overwrite: bool) -> Path:
    """Return the path of an export once it is known that it can be written there.

    Raises:
        ValueError: If the suffix is unknown.
        FileExistsError: If something is there already, and is not to be overwritten.
        FileNotFoundError: If its folder does not exist.
        ImportError: If a library is missing; says what to install.
    """
    engine = engine_of(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"path={str(path)!r} exists; choose another, or pass overwrite=True")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"path={str(path)!r}: there is no folder {path.absolute().parent}; make it first"
        )
    _require_libraries(engine)
    return path


def announce_size(num_bytes: int, path: Path | None) -> None:
    """Say how large the arrays are if that is more than 1 GB, and refuse what a disk cannot hold.

    Args:
        num_bytes: Their size before compression.
        path: Where they go; None for memory.

    Raises:
        OSError: If less is free on the disk.
    """
    size = f"{num_bytes / 1e9:.3g} GB"
    advice = "fewer draws, or only some of them with sites= and groups=, take less"
    if path is not None:
        free = shutil.disk_usage(path.absolute().parent).free
        if num_bytes > free:
            raise OSError(
                f"path={str(path)!r}: {size} of arrays, but {free / 1e9:.3g} GB are free there; {advice}"
            )
    if num_bytes > ANNOUNCED_BYTES:
        where = (
            f"written to {str(path)!r}, before compression"
            if path
            else "held in memory; path= streams them to a file"
        )
        warnings.warn(f"{size} of arrays will be {where}; {advice}", stacklevel=3)


def arrays_in(
    path: Path, specs: Sequence[ArraySpec], skeleton: Mapping[str, xr.Dataset], batch_size: int
) -> AbstractContextManager[dict[Key, Any]]:
    """Give empty arrays in a new file, to be written by region; the file is complete once the context is left.

    What xarray itself writes in parts is Zarr alone, and by region only with Dask.

    Args:
        path: The file, which must not exist.
        specs: The arrays.
        skeleton: Coordinates and attributes of each group; the root's under ``"/"``.
        batch_size: Number of rows that will be written at once.
    """
    make = {"zarr": _zarr_arrays, "h5netcdf": _netcdf_arrays}[engine_of(path)]
    return make(path, specs, skeleton, batch_size)


@contextmanager
def _zarr_arrays(
    path: Path, specs: Sequence[ArraySpec], skeleton: Mapping[str, xr.Dataset], batch_size: int
) -> Iterator[dict[Key, Any]]:
    """Write format 2, which every version of Zarr and xarray reads."""
    import zarr

    for group, dataset in skeleton.items():
        dataset.to_zarr(path, group=group, mode="a", zarr_format=2, consolidated=False)
    root: Any = zarr.open_group(path, mode="r+", zarr_format=2)
    for spec in specs:
        if spec.is_label:
            root[spec.group].attrs["coordinates"] = _coordinates(root[spec.group].attrs, spec)
    yield {
        spec.key: root[spec.group].create_array(
            spec.name,
            shape=spec.shape,
            dtype=spec.dtype,
            chunks=spec.chunks(batch_size),
            attributes={**_attributes(spec), "_ARRAY_DIMENSIONS": list(spec.dims)},
            # A number here would be read back as "missing" wherever it occurs.
            fill_value=None,
        )
        for spec in specs
    }
    # Gathered metadata, with which readers open the store at once.
    zarr.consolidate_metadata(path, zarr_format=2)


@contextmanager
def _netcdf_arrays(
    path: Path, specs: Sequence[ArraySpec], skeleton: Mapping[str, xr.Dataset], batch_size: int
) -> Iterator[dict[Key, Any]]:
    import h5netcdf  # type: ignore[import-untyped]

    for group, dataset in skeleton.items():
        dataset.to_netcdf(path, group=group, mode="a" if path.exists() else "w", engine="h5netcdf")
    arrays = {}
    with h5netcdf.File(path, "a") as file:
        for spec in specs:
            compression = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if spec.dims else {}
            chunks = spec.chunks(batch_size) or None
            arrays[spec.key] = file[spec.group].create_variable(
                spec.name, spec.dims, dtype=spec.dtype, chunks=chunks, **compression
            )
            arrays[spec.key].attrs.update(_attributes(spec))
            if spec.is_label:
                file[spec.group].attrs["coordinates"] = _coordinates(file[spec.group].attrs, spec)
        yield arrays


def _attributes(spec: ArraySpec) -> dict[str, str]:
    """Return a variable's attributes; a truth value is a byte in a file, and is marked as xarray marks it."""
    return {**spec.attrs, "dtype": "bool"} if spec.is_label else spec.attrs


def _coordinates(attrs: Mapping[str, Any], spec: ArraySpec) -> str:
    """Return the group's attribute that lists its coordinates, with one more."""
    return f"{attrs.get('coordinates', '')} {spec.name}".strip()


def _require_libraries(engine: str) -> None:
    """Raise an ImportError that says what to install, if anything is missing."""
    try:
        if engine == "h5netcdf":
            import h5netcdf  # noqa: F401
            import h5py  # type: ignore[import-untyped]  # noqa: F401

            return
        import zarr
    except ImportError as error:
        what = {
            "zarr": "Zarr store needs Zarr: pip install 'ib-pyro[zarr]'",
            "h5netcdf": "netCDF file needs h5netcdf and h5py: pip install 'ib-pyro[netcdf]'",
        }
        raise ImportError(f"a {what[engine]}") from error
    if int(zarr.__version__.split(".")[0]) < 3:
        raise ImportError(f"a Zarr store needs Zarr 3, not {zarr.__version__}: pip install 'ib-pyro[zarr]'")
