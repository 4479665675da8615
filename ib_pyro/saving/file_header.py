"""What a saved program's file says of itself, and the digest by which any change of it is noticed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

__all__ = ["FileHeader", "packed", "read_header", "unpacked"]

KEY = "ib_pyro"
FORMAT = 1
# As long as a digest, and in its place while it is not known yet.
NO_DIGEST = "0" * 64
LENGTH_BYTES = 8


@dataclass(frozen=True)
class FileHeader:
    """What is known of a saved program before a tensor of it is read."""

    program: str
    """Name of the program's class; of a pair, those of model and guide."""
    sites: tuple[str, ...]
    """Names of the stochastic layers' sites, of a :class:`~ib_pyro.Bottleneck`."""
    shapes: Mapping[str, tuple[int, ...]]
    """Shape of each tensor by name, those among them that share another's memory."""
    dtypes: Mapping[str, str]
    """Type of each tensor, as in ``"float32"``."""
    shared: Mapping[str, str] = field(default_factory=dict)
    """Names of tensors that are another one, each with the name of that one; such are in the file once."""
    store: Mapping[str, str] = field(default_factory=dict)
    """Entries of Pyro's parameter store, and their constraint."""
    modules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Class and plain options of each module by its path; what no tensor says, such as an activation."""
    factory: str | None = None
    """Who made the program, as ``"module:name"``; for a reader, and never imported."""
    arguments: Mapping[str, Any] | None = None
    """Arguments of the factory."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the user added."""
    versions: Mapping[str, str | None] = field(default_factory=dict)
    """Versions of Python, ib_pyro, torch and Pyro with which it was written."""
    created_at: str = ""
    """When, in UTC."""


def packed(header: FileHeader, tensors: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file: ``safetensors``, with the header in its metadata and the SHA-256 of all of it.

    Args:
        header: What to say of the tensors.
        tensors: Contiguous tensors on the CPU, none of which shares memory with another.
    """
    from safetensors.torch import save

    said = {"digest": NO_DIGEST, "format": FORMAT, **asdict(header)}
    content = save(dict(tensors), metadata={KEY: json.dumps(said)})
    return content.replace(NO_DIGEST.encode(), _digest_of(content).encode(), 1)


def unpacked(path: str | PathLike[str]) -> tuple[FileHeader, bytes]:
    """Return a file's header and its bytes, once it is known that they are as they were written.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is no such file, or not all of it is as it was written; names the path, in one line.
    """
    content = Path(path).read_bytes()
    said = _metadata_of(content, path)
    digest = said.pop("digest", None)
    version = said.pop("format", None)
    known = isinstance(digest, str) and len(digest) == len(NO_DIGEST) and digest.isascii()
    blank = content.replace(digest.encode(), NO_DIGEST.encode(), 1) if known else content
    if not known or _digest_of(blank) != digest:
        raise ValueError(
            f"{path}: the file is not as it was written (its SHA-256 differs); take another copy of it"
        )
    if version != FORMAT:
        raise ValueError(
            f"{path}: the file has the format {version!r}, and this version of ib_pyro reads {FORMAT}; load it with "
            f"ib_pyro {said.get('versions', {}).get('ib_pyro')}"
        )
    try:
        return _header_of(said), content
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: its header lacks what ib_pyro.save writes ({error}); save it again"
        ) from error


def read_header(path: str | PathLike[str]) -> FileHeader:
    """Return what a saved program's file says of itself: no program is needed, nothing of it imported.

    Args:
        path: What :func:`ib_pyro.save` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, or not all of it is as it was written.
    """
    return unpacked(path)[0]


def _digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _metadata_of(content: bytes, path: str | PathLike[str]) -> dict[str, Any]:
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    try:
        said = json.loads(json.loads(content[LENGTH_BYTES : LENGTH_BYTES + length])["__metadata__"][KEY])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path}: it is no program that ib_pyro.save wrote, or its beginning is damaged; pass such a file"
        ) from error
    if not isinstance(said, dict):
        raise ValueError(f"{path}: it is no program that ib_pyro.save wrote; pass such a file")
    return said


def _header_of(said: dict[str, Any]) -> FileHeader:
    # What a later version says beside is not needed to read what this one knows.
    known = {name: value for name, value in said.items() if name in FileHeader.__dataclass_fields__}
    known["sites"] = tuple(known["sites"])
    known["shapes"] = {name: tuple(shape) for name, shape in known["shapes"].items()}
    return FileHeader(**known)
