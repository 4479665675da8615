"""Arrays of an export in a netCDF file, written batch by batch."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import xarray as xr

from ib_pyro.export.layout import ArraySpec

__all__ = ["NetCDFStore"]


class NetCDFStore:
    """A netCDF-4 file, written through h5netcdf.

    Args:
        path: File to write, which must not exist.
        specs: The arrays.
        skeleton: Coordinates and attributes of each group; the root's under ``"/"``.
        batch_size: Number of rows that will be written at once.

    Raises:
        ImportError: If h5netcdf is missing.
    """

    suffixes = (".nc", ".netcdf")
    engine = "h5netcdf"

    def __init__(
        self, path: Path, specs: Iterable[ArraySpec], skeleton: dict[str, xr.Dataset], batch_size: int
    ) -> None:
        import h5netcdf  # type: ignore[import-untyped]

        for group, dataset in skeleton.items():
            dataset.to_netcdf(path, group=group, mode="a" if path.exists() else "w", engine="h5netcdf")
        self._file = h5netcdf.File(path, "a")
        for spec in specs:
            variable = self._file[spec.group].create_variable(
                spec.name,
                spec.dims,
                dtype=spec.dtype,
                chunks=spec.chunks(batch_size) or None,
                **({"compression": "gzip", "compression_opts": 1, "shuffle": True} if spec.dims else {}),
            )
            variable.attrs.update(spec.attrs)

    @staticmethod
    def require() -> None:
        """Raise an ImportError that says what to install, if anything is missing."""
        try:
            import h5netcdf  # noqa: F401
            import h5py  # type: ignore[import-untyped]  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "a netCDF file needs h5netcdf and h5py: pip install 'ib-pyro[netcdf]'"
            ) from error

    def write(self, spec: ArraySpec, rows: slice, block: np.ndarray) -> None:
        """Write the part of an array that belongs to some rows of x."""
        self._file[f"{spec.group}/{spec.name}"][spec.region(rows)] = block

    def close(self) -> None:
        """Close the file."""
        self._file.close()
