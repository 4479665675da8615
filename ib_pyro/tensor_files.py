"""Files of tensors, as ``torch.save`` writes them: read without running anything, and only as they were written."""

import errno
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from ib_pyro.files import written_whole

__all__ = ["load_tensors", "save_tensors"]

# What Python's reader of archives stumbles over in one that is damaged.
DAMAGED: tuple[type[Exception], ...] = (zipfile.BadZipFile, EOFError, NotImplementedError, OverflowError)
DAMAGED += (RuntimeError, ValueError, struct.error, zlib.error)


def save_tensors(content: Any, path: Path) -> None:  # noqa: ANN401 - tensors, plain values, and collections of them
    """Write tensors and plain values, so that a reader finds the whole file or none.

    Args:
        content: What is written.
        path: Where to; its folder must exist.

    Raises:
        OSError: If it cannot be written; names ``path``.
    """
    with written_whole(path) as partial, partial.open("xb") as file:
        torch.save(content, file)


def load_tensors(path: Path, *, mmap: bool = False) -> Any:  # noqa: ANN401 - what was saved
    """Read what ``save_tensors`` wrote, onto the CPU.

    PyTorch looks at no checksum of its files: a bit that the disk has turned would be a weight that nobody fitted.
    Each record's is looked at here, and a record that is compressed, as PyTorch writes none, is not unpacked.

    Args:
        path: The file.
        mmap: Whether to map tensors from the disk, rather than to copy them into memory.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged, or holds anything but tensors and plain values; names the path.
    """
    _require_whole(path)
    try:
        return torch.load(path, map_location="cpu", mmap=mmap, weights_only=True)
    except pickle.UnpicklingError:
        # PyTorch would advise to run what is in it.
        raise ValueError(
            f"{path} holds something else than tensors and plain values; it is not read"
        ) from None
    except OSError:
        raise
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read ({type(error).__name__}); it is no file of tensors"
        ) from None


def _damaged_record(archive: zipfile.ZipFile) -> str | None:
    """Name of the first record that is not as it was written."""
    try:
        return archive.testzip()
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ValueError("it names a place before its own beginning") from None


def _require_whole(path: Path) -> None:
    """Raise a ValueError if some byte of a file is another than was written, or it is no such file."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            records = archive.infolist()
            packed = [r.filename for r in records if r.compress_type != zipfile.ZIP_STORED]
            if packed or sum(r.file_size for r in records) > path.stat().st_size:
                raise ValueError(f"{path} is compressed, which PyTorch's files are not; it is not unpacked")
            damaged = _damaged_record(archive)
    except DAMAGED as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} is no file of tensors, or damaged: {error}") from None
    if damaged is not None:
        raise ValueError(f"{path} is damaged: its record {damaged} is not as it was written")
