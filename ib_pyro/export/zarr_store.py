"""Arrays of an export in a Zarr store, written batch by batch."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import xarray as xr

from ib_pyro.export.layout import ArraySpec

__all__ = ["ZarrStore"]


class ZarrStore:
    """A Zarr store, of format 2, which every version of Zarr and xarray reads.

    Args:
        path: Folder to write, which must not exist.
        specs: The arrays.
        skeleton: Coordinates and attributes of each group; the root's under ``"/"``.
        batch_size: Number of rows that will be written at once.

    Raises:
        ImportError: If Zarr is missing or too old.
    """

    suffixes = (".zarr",)
    engine = "zarr"

    def __init__(
        self, path: Path, specs: Iterable[ArraySpec], skeleton: dict[str, xr.Dataset], batch_size: int
    ) -> None:
        import zarr

        for group, dataset in skeleton.items():
            dataset.to_zarr(path, group=group, mode="a", zarr_format=2, consolidated=False)
        self._path = path
        self._root = zarr.open_group(path, mode="r+", zarr_format=2)
        for spec in specs:
            self._root[spec.group].create_array(  # type: ignore[union-attr]
                spec.name,
                shape=spec.shape,
                dtype=spec.dtype,
                chunks=spec.chunks(batch_size),
                attributes={**spec.attrs, "_ARRAY_DIMENSIONS": list(spec.dims)},
                # A number here would be read back as "missing" wherever it occurs.
                fill_value=None,
            )

    @staticmethod
    def require() -> None:
        """Raise an ImportError that says what to install, if anything is missing."""
        try:
            import zarr
        except ImportError as error:
            raise ImportError("a Zarr store needs Zarr: pip install 'ib-pyro[zarr]'") from error
        if int(zarr.__version__.split(".")[0]) < 3:
            raise ImportError(
                f"a Zarr store needs Zarr 3, not {zarr.__version__}: pip install 'ib-pyro[zarr]'"
            )

    def write(self, spec: ArraySpec, rows: slice, block: np.ndarray) -> None:
        """Write the part of an array that belongs to some rows of x."""
        self._root[f"{spec.group}/{spec.name}"][spec.region(rows)] = block  # type: ignore[index]

    def close(self) -> None:
        """Gather the metadata, with which readers open the store at once."""
        import zarr

        zarr.consolidate_metadata(self._path, zarr_format=2)
