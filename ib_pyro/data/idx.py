"""MNIST and Fashion-MNIST from IDX files, plain or gzipped, as torchvision and Debian lay them out."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ib_pyro.data.content import OWN, require_grey_levels, require_labels, require_number, require_shape
from ib_pyro.data.download import fetch, missing
from ib_pyro.data.image_pool import Pool
from ib_pyro.data.request import Request

if TYPE_CHECKING:
    from torchvision.datasets import MNIST

__all__ = ["fashion_mnist_pool", "mnist_pool"]

# Where the Debian package dataset-fashion-mnist puts its files.
_DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
# Four times what a set of these has: a file that unpacks to more is none.
_MOST_BYTES = 4 * (16 + 60_000 * 28 * 28)
_BYTES_AT_A_TIME = 2**20
# What torchvision and gzip stumble over in a file that is no IDX, or is damaged.
_NO_IDX = (AssertionError, EOFError, IndexError, KeyError, OSError, RuntimeError, ValueError, zlib.error)
_NUMBER = {"train": 60_000, "test": 10_000}


def mnist_pool(request: Request) -> Pool:
    """Read MNIST from ``MNIST/raw`` under the root.

    Args:
        request: What is asked for.

    Returns:
        The pool, images of shape ``[1, 28, 28]``.

    Raises:
        ValueError: If there is no root, or the files are not what they should be.
        FileNotFoundError: If there are no files, and no way to download them.
    """
    from torchvision.datasets import MNIST

    root = request.require_root()
    found, pool = _read(request, root, MNIST, [root / "MNIST" / "raw", root / "mnist"], commands=[])
    _require_centred_digits(found, pool.images(torch.arange(len(pool.y))))
    return pool


def fashion_mnist_pool(request: Request) -> Pool:
    """Read Fashion-MNIST from ``FashionMNIST/raw`` under the root, or from Debian's dataset-fashion-mnist.

    Args:
        request: What is asked for.

    Returns:
        The pool, images of shape ``[1, 28, 28]``.

    Raises:
        ValueError: If there is neither a root nor the package, or the files are not what they should be.
        FileNotFoundError: If there are no files, and no way to download them.
    """
    from torchvision.datasets import FashionMNIST

    root = _DEBIAN_FASHION_MNIST if request.root is None else request.root
    folders = [root / "FashionMNIST" / "raw", root / "fashion-mnist", _DEBIAN_FASHION_MNIST]
    if request.root is None and _find(folders, request.part) is None:
        request.require_root()
    return _read(request, root, FashionMNIST, folders, commands=["apt-get install dataset-fashion-mnist"])[1]


def _read(
    request: Request, root: Path, source: type[MNIST], folders: list[Path], commands: list[str]
) -> tuple[Path, Pool]:
    """Return the file of the images, and the pool."""
    found = _find(folders, request.part)
    if found is None:
        reason = _download(root, source) if request.download else None
        found = _find(folders, request.part)
        if found is None:
            raise _missing(request.name, root, source, folders[0], commands, reason)
    x, y = _read_images(found[0]), _read_labels(found[1])
    classes = tuple(name.split(" - ")[0] for name in source.classes)
    _require_set(request, found, x, y, len(classes))
    return found[0], Pool(y, partial(x.unsqueeze(1).index_select, 0), classes)


def _require_set(request: Request, found: tuple[Path, Path], x: Tensor, y: Tensor, num_classes: int) -> None:
    require_shape(found[0], x, request.name, (28, 28))
    require_number(found[0], len(x), request.name, _NUMBER[request.part])
    require_grey_levels(found[0], x)
    if len(x) != len(y):
        raise ValueError(
            f"{found[0]} has {len(x)} images, but {found[1]} has {len(y)} labels; fetch both again"
        )
    require_labels(found[1], y, num_classes)


def _require_centred_digits(path: Path, images: Tensor) -> None:
    """Refuse images that are not MNIST's, whose digits stand in the middle: 1.4 % of them have ink on the rim."""
    rim = images.clone()
    rim[..., 1:-1, 1:-1] = 0
    inked = int(rim.flatten(1).any(1).sum())
    if inked > 5 + 0.1 * len(images):
        raise ValueError(
            f"{path}: {inked} of {len(images)} images have ink in their outermost pixels, where one in 70 of MNIST's "
            f"has; is it another set, such as Fashion-MNIST, or white with black digits? Fetch it again, or {OWN}"
        )


def _find(folders: list[Path], part: str) -> tuple[Path, Path] | None:
    prefix = "train" if part == "train" else "t10k"
    stems = (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
    for folder in folders:
        found = [path for stem in stems for path in _plain_or_gzipped(folder / stem)]
        if len(found) == len(stems):
            return found[0], found[1]
    return None


def _plain_or_gzipped(path: Path) -> list[Path]:
    return [candidate for candidate in (path, path.with_name(f"{path.name}.gz")) if candidate.is_file()][:1]


def _download(root: Path, source: type[MNIST]) -> str | None:
    urls = [mirror + source.resources[0][0] for mirror in source.mirrors]
    return fetch(root, urls, lambda folder: source(folder, download=True))


def _missing(
    name: str, root: Path, source: type[MNIST], folder: Path, commands: list[str], reason: str | None
) -> FileNotFoundError:
    files = [f"{folder / archive.removesuffix('.gz')} (or .gz)" for archive, _ in source.resources]
    kind = source.__name__
    commands = [
        f"python -c \"from torchvision.datasets import {kind}; {kind}('{root}', download=True)\"",
        *commands,
        *(
            f"curl -L --create-dirs --output-dir {folder} --remote-name-all "
            + " ".join(mirror + archive for archive, _ in source.resources)
            for mirror in source.mirrors[:1]
        ),
    ]
    return missing(name, root, files, commands, reason)


def _read_images(path: Path) -> Tensor:
    from torchvision.datasets.mnist import read_image_file

    return _parse(path, read_image_file, "images")


def _read_labels(path: Path) -> Tensor:
    from torchvision.datasets.mnist import read_label_file

    return _parse(path, read_label_file, "labels")


def _parse(path: Path, reader: Callable[[str], Tensor], content: str) -> Tensor:
    try:
        if path.suffix != ".gz":
            return reader(str(path))
        # torchvision reads plain files only; those under the root are not ours to unpack in place.
        with tempfile.NamedTemporaryFile() as plain, gzip.open(path) as packed:
            while part := packed.read(_BYTES_AT_A_TIME):
                plain.write(part)
                if plain.tell() > _MOST_BYTES:
                    raise ValueError(f"it unpacks to more than {_MOST_BYTES} bytes")
            plain.flush()
            return reader(plain.name)
    except TypeError as error:
        raise ValueError(
            f"{path}: {content} must be unsigned bytes, from 0 to 255 ({error}); fetch it again, or {OWN}"
        ) from error
    except _NO_IDX as error:
        raise ValueError(
            f"{path}: not an IDX file of {content} ({type(error).__name__}: {error}); fetch it again"
        ) from error
