"""Files of tensors, as ``torch.save`` writes them: read without running anything, and only as they were written."""

import errno
import io
import operator
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ib_pyro.files import written_whole

__all__ = ["load_tensors", "readable", "save_tensors"]

# What Python's reader of archives stumbles over in one that is damaged.
DAMAGED: tuple[type[Exception], ...] = (zipfile.BadZipFile, EOFError, NotImplementedError, OverflowError)
DAMAGED += (RuntimeError, ValueError, struct.error, zlib.error)

# What is read back without a question; the rest is tried.
KNOWN = {bool, bytes, complex, float, int, str, type(None), torch.Tensor, torch.nn.Parameter}
# What is asked piece by piece; another kind of collection is tried as a whole.
COLLECTIONS = {dict, list, tuple, OrderedDict}


def save_tensors(content: Any, path: Path) -> None:  # noqa: ANN401 - tensors, plain values, and collections of them
    """Write tensors and plain values, so that a reader finds the whole file or none.

    Args:
        content: What is written; numbers of NumPy are written as Python's.
        path: Where to; its folder must exist.

    Raises:
        OSError: If it cannot be written; names ``path``.
        TypeError: If something in it would not be read back; names it, and leaves what is at ``path``.
    """
    content = readable(content, path)
    with written_whole(path) as partial, partial.open("xb") as file:
        torch.save(content, file)


def readable(content: Any, path: Path) -> Any:  # noqa: ANN401 - what is to be saved
    """Return what ``save_tensors`` writes of a content, once it is known that ``load_tensors`` reads it back.

    Args:
        content: Tensors, plain values, and collections of them. What is as it should be is returned itself.
        path: Where it is to be written, for the message.

    Raises:
        TypeError: If something in it would not be read back; names it.

    >>> readable({"lr": np.float64(0.1), "steps": [np.int64(3)]}, Path("state.pt"))
    {'lr': 0.1, 'steps': [3]}
    >>> readable({"lr": range(3)}, Path("state.pt"))
    Traceback (most recent call last):
    TypeError: state.pt: its ['lr'] is a range, which is not read back; keep tensors, plain values, lists and dicts
    """
    return _readable(content, path, "")


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


def _readable(part: Any, path: Path, name: str) -> Any:  # noqa: ANN401 - what is to be saved
    kind = type(part)
    if isinstance(part, np.generic):
        plain = part.item()
        part, kind = plain, type(plain)
    if kind in KNOWN:
        return part
    if kind in COLLECTIONS:
        return _collected(part, path, name)
    try:
        file = io.BytesIO()
        torch.save(part, file)
        torch.load(io.BytesIO(file.getbuffer()), weights_only=True)
    except Exception as error:
        what = f"its {name}" if name else "it"
        raise TypeError(
            f"{path}: {what} is a {kind.__name__}, which is not read back; keep tensors, plain values, lists and dicts"
        ) from error
    return part


def _collected(part: Any, path: Path, name: str) -> Any:  # noqa: ANN401 - a collection
    """Return a collection whose pieces are read back: itself if they all are as they should be."""
    if isinstance(part, dict):
        keys = [_readable(key, path, f"{name} key {key!r}".strip()) for key in part]
        values = [_readable(value, path, f"{name}[{key!r}]") for key, value in part.items()]
        alike = all(map(operator.is_, [*keys, *values], [*part, *part.values()]))
        return part if alike else type(part)(zip(keys, values, strict=True))
    pieces = [_readable(value, path, f"{name}[{place}]") for place, value in enumerate(part)]
    return part if all(map(operator.is_, pieces, part)) else type(part)(pieces)


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
