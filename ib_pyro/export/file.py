"""The file of an export: its format, its size, and whether it can be written."""

import shutil
import warnings
from pathlib import Path

from ib_pyro.export.netcdf_store import NetCDFStore
from ib_pyro.export.zarr_store import ZarrStore

__all__ = ["FileStore", "announce_size", "check_path", "store_for"]

FileStore = type[ZarrStore] | type[NetCDFStore]
STORES: tuple[FileStore, ...] = (ZarrStore, NetCDFStore)
ANNOUNCED_BYTES = 10**9


def store_for(path: Path) -> FileStore:
    """Return the store that a path's suffix stands for.

    Raises:
        ValueError: If the suffix is unknown.
    """
    stores = {suffix: store for store in STORES for suffix in store.suffixes}
    if path.suffix not in stores:
        raise ValueError(
            f"path={str(path)!r}: the suffix says the format; use .zarr for a Zarr store, .nc for netCDF"
        )
    return stores[path.suffix]


def check_path(path: Path, *, overwrite: bool) -> Path:
    """Return the path of an export once it is known that it can be written there.

    Raises:
        ValueError: If the suffix is unknown.
        FileExistsError: If something is there already, and is not to be overwritten.
        FileNotFoundError: If its folder does not exist.
        ImportError: If a library is missing; says what to install.
    """
    store = store_for(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"path={str(path)!r} exists; choose another, or pass overwrite=True")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"path={str(path)!r}: there is no folder {path.absolute().parent}; make it first"
        )
    store.require()
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
