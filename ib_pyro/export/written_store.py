"""A Zarr store that is read as long as it is the one that was opened; its chunks are files, looked up by name."""

from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

__all__ = ["WrittenStore"]


class WrittenStore(LocalStore):
    """A store in a folder that raises a RuntimeError once another store is there, or none.

    Zarr itself would read the numbers of another store, and take a chunk that is missing for one of zeros.

    Args:
        root: The folder of a store that is complete.
        read_only: Whether it is only read.
    """

    def __init__(self, root: Path | str, *, read_only: bool = True) -> None:
        # Metadata of groups are written again with every attribute, those of an array are not.
        arrays = sorted(Path(root).glob("*/*/.zarray"))
        self._witness = arrays[0].relative_to(root) if arrays else Path(".zgroup")
        self._written = _identity(Path(root) / self._witness)
        super().__init__(root, read_only=read_only)

    @property
    def root(self) -> Path:
        """The folder; every way of reading asks for it."""
        if _identity(self._folder / self._witness) != self._written:
            raise RuntimeError(
                f"{str(self._folder)!r} was overwritten, moved or removed since this result was exported there: what "
                "the result has not read yet is gone; use the newer one, and next time another path, or .load() what "
                "is to outlive its file"
            )
        return self._folder

    @root.setter
    def root(self, root: Path) -> None:
        self._folder = root

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return False
        return (self._folder, self._written) == (other._folder, other._written)

    def __str__(self) -> str:
        return f"file://{self._folder.as_posix()}"


def _identity(file: Path) -> Any:  # noqa: ANN401 (compared alone)
    """Tell a file from another that is put in its place."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
