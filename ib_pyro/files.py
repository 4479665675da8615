"""Files and folders that are there whole or not at all, whatever interrupts who writes them."""

import errno
import hashlib
import os
import shutil
import socket
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["written_whole"]

# What a disk says when it holds no more; it does not say of which file.
FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
# So much of a name stays in that of its temporary file: a name has at most 255 bytes.
KEPT_LETTERS = 40
# A process that is started again in a container may have the number of the one that was killed.
PROCESS = uuid.uuid4().hex[:8]


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path to write to beside ``path``, and move what is there into place once all is written.

    A file replaces a file in a single step: a reader finds the old one or the new one, and the last of several writers
    wins. A folder replaces a folder in two, between which there is none. What is written reaches the disk before it
    is moved, and its permissions are those of an ordinary ``open(path, "w")``. A link is followed. If writing fails
    nothing is left behind; what a process that was killed left is removed by the next that writes the same path on the
    same machine.

    Args:
        path: Where to; its folder must exist.

    Yields:
        A path at which nothing is yet, of the same suffix: for one file or one folder.

    Raises:
        OSError: If it cannot be written; names ``path``.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with written_whole(folder / "a.txt") as partial:
    ...     characters = partial.write_text("all of it")
    >>> [(file.name, file.read_text()) for file in folder.iterdir()]
    [('a.txt', 'all of it')]
    """
    target = Path(os.path.realpath(path))
    _require_replaceable(target, path)
    _remove_abandoned(target, "partial")
    partial = _beside(target, "partial")
    try:
        yield partial
        _sync(partial)
        _replace(target, partial)
    except Exception as error:
        named = _naming(path, partial, error)
        if named is error:
            raise
        raise named from error
    finally:
        _remove(partial)
    _remove_abandoned(target, "replaced")
    _sync_folder(target.parent)


def _require_replaceable(target: Path, path: str | os.PathLike[str]) -> None:
    """Raise an OSError if what is there is not to be written, or is no place for a file."""
    name = os.fspath(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {target.parent}; make it first", name)
    # One question each: between two of them another writer may put the target aside.
    found = _status(target)
    if found is not None and not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise OSError(errno.EINVAL, "it is neither a file nor a folder; choose another path", name)
    for place in (target, target.parent):
        if _is_protected(place):
            raise PermissionError(errno.EACCES, f"{place} cannot be written; choose another path", name)


def _is_protected(place: Path) -> bool:
    """Whether it is there and must not be written, the same before and after."""
    before = _status(place)
    if before is None or os.access(place, os.W_OK):
        return False
    after = _status(place)
    return after is not None and os.path.samestat(before, after)


def _status(place: Path) -> os.stat_result | None:
    try:
        return place.stat()
    except FileNotFoundError:
        return None


def _replace(target: Path, partial: Path) -> None:
    if target.is_file() and partial.is_file():
        partial.chmod(stat.S_IMODE(target.stat().st_mode))
    aside: list[Path] = []
    try:
        while not _is_moved(partial, target):
            aside.append(_beside(target, "replaced"))
            # Where another writer was faster there is nothing to put aside.
            with suppress(FileNotFoundError):
                os.replace(target, aside[-1])
    except BaseException:
        if aside and aside[-1].exists():
            os.replace(aside[-1], target)
        raise
    for former in aside:
        _remove(former)


def _is_moved(partial: Path, target: Path) -> bool:
    """Move it, unless it is a folder and another, which is not empty, stands there."""
    try:
        os.replace(partial, target)
    except OSError as error:
        in_the_way = {errno.ENOTEMPTY, errno.EEXIST} if os.name == "posix" else {errno.EACCES}
        if partial.is_dir() and error.errno in in_the_way and (os.name == "posix" or target.is_dir()):
            return False
        raise
    return True


def _sync(written: Path) -> None:
    """Wait until it is on the disk: a power cut may keep the new name and lose the content."""
    inside = list(written.rglob("*")) if written.is_dir() else []
    for place in [*inside, written]:
        if place.is_dir():
            _sync_folder(place)
        else:
            with place.open("r+b") as handle:
                os.fsync(handle.fileno())


def _sync_folder(folder: Path) -> None:
    # Windows opens no folder, and some file systems cannot sync one.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _beside(target: Path, kind: str) -> Path:
    """A name that nobody else takes, and that says whose it is."""
    return target.with_name(
        f"{_prefix(target, kind)}{os.getpid()}-{PROCESS}-{uuid.uuid4().hex[:8]}{target.suffix}"
    )


def _prefix(target: Path, kind: str) -> str:
    # Two that begin with the same letters are told apart, and so are two machines that share a disk.
    told_apart = f"{target.name}\n{socket.gethostname()}\n{uuid.getnode()}".encode(errors="surrogateescape")
    digest = hashlib.blake2s(told_apart, digest_size=8).hexdigest()
    return f".{target.stem[:KEPT_LETTERS]}.{kind}-{digest}-"


def _remove_abandoned(target: Path, kind: str) -> None:
    """Remove what a process of this machine left behind that was killed while it wrote the same path."""
    prefix = _prefix(target, kind)
    with suppress(OSError):
        for name in os.listdir(target.parent):
            if name.startswith(prefix):
                number, process, *_ = name.removeprefix(prefix).split("-")
                if not _lives(int(number), process):
                    _remove(target.with_name(name))


def _lives(number: int, process: str) -> bool:
    if number == os.getpid():
        return process == PROCESS
    if os.name != "posix":
        return True  # to ask would end it
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _naming(path: str | os.PathLike[str], partial: Path, error: Exception) -> Exception:
    """The same error about ``path``, if it is about the temporary file or came of a disk that is full."""
    origin: BaseException | None = error
    while origin is not None:  # PyTorch stumbles over its own end of the file when the disk is full
        if isinstance(origin, OSError) and origin.errno in FULL and origin.filename is None:
            return OSError(origin.errno, origin.strerror, os.fspath(path))
        origin = origin.__context__
    if isinstance(error, OSError) and str(error.filename).startswith(str(partial)):
        return OSError(error.errno, error.strerror, os.fspath(path))
    if isinstance(error, OSError) and str(partial) in str(error):
        return OSError(str(error).replace(str(partial), os.fspath(path)))
    return error
