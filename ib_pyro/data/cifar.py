"""CIFAR-10 from the batches of its authors or from a folder of images."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ib_pyro.data.cache import cached, fingerprint
from ib_pyro.data.content import require_grey_levels, require_number
from ib_pyro.data.download import fetch, missing
from ib_pyro.data.image_files import SUFFIXES, read_image
from ib_pyro.data.image_pool import Pool
from ib_pyro.data.request import Request

__all__ = ["cifar10_pool"]

_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_NUMBER_IN_A_CLASS = {"train": 5_000, "test": 1_000}
# Images decoded to tell whether a kept file holds this folder.
_PROBES = 5
# Part of the cache's key: raise it when the same files give other tensors.
_VERSION = 1


def cifar10_pool(request: Request) -> Pool:
    """Read CIFAR-10 from ``cifar-10-batches-py`` or from ``cifar10/{train,test}/<class>/*`` under the root.

    The batches are exact and come first. A folder of images is decoded once and kept in the cache; if its
    files are JPEG the pixels differ slightly from the exact ones. Files have no order of their own: theirs is
    drawn once and for all, so that neighbours are not of one class.

    Args:
        request: What is asked for.

    Returns:
        The pool, images of shape ``[3, 32, 32]``.

    Raises:
        ValueError: If there is no root, or the files are not what they should be.
        FileNotFoundError: If there are no files, and no way to download them.
    """
    from torchvision.datasets import CIFAR10

    root = request.require_root()
    folder = root / "cifar10" / request.part
    if not (root / CIFAR10.base_folder).is_dir() and not folder.is_dir():
        reason = _download(root) if request.download else None
        if not (root / CIFAR10.base_folder).is_dir():
            raise _missing(request.name, root, reason)
    if (root / CIFAR10.base_folder).is_dir():
        x, y = _read_batches(root, request.part)
    else:
        x, y = _read_folder(folder, request)
    return Pool(y, partial(x.index_select, 0), _CLASSES)


def _download(root: Path) -> str | None:
    from torchvision.datasets import CIFAR10

    return fetch(root, [CIFAR10.url], lambda folder: CIFAR10(folder, download=True))


def _missing(name: str, root: Path, reason: str | None) -> FileNotFoundError:
    from torchvision.datasets import CIFAR10

    files = [
        f"{root / CIFAR10.base_folder}/ with data_batch_1 to data_batch_5, test_batch and batches.meta",
        f"or images, as {root}/cifar10/{{train,test}}/<class>/*.png (or .jpg),",
        f"    the classes {', '.join(_CLASSES)}",
    ]
    commands = [
        f"python -c \"from torchvision.datasets import CIFAR10; CIFAR10('{root}', download=True)\"",
        f"curl -L {CIFAR10.url} | tar -xz -C {root}",
    ]
    return missing(name, root, files, commands, reason)


def _read_batches(root: Path, part: str) -> tuple[Tensor, Tensor]:
    from torchvision.datasets import CIFAR10

    try:
        source = CIFAR10(root, train=part == "train")
    except RuntimeError as error:
        raise ValueError(
            f"{root / CIFAR10.base_folder}: a file is missing or damaged ({error}); remove the folder and "
            "fetch it again"
        ) from error
    return torch.from_numpy(source.data).permute(0, 3, 1, 2), torch.tensor(source.targets)


def _read_folder(folder: Path, request: Request) -> tuple[Tensor, Tensor]:
    files, labels = _list_images(folder, request)
    stats = [(Path(file.path).relative_to(folder).as_posix(), file.stat()) for file in files]
    listing = "".join(f"{name} {stat.st_size} {stat.st_mtime_ns}\n" for name, stat in stats)
    path = request.cache / f"cifar10-{request.part}-v{_VERSION}-{fingerprint(listing)}.pt"
    paths = [file.path for file in files]
    content = cached(path, lambda: _decode(paths, labels), lambda kept: _is_folder(kept, paths, labels))
    require_grey_levels(folder, content["x"])
    return content["x"], content["y"]


def _list_images(folder: Path, request: Request) -> tuple[list[os.DirEntry[str]], list[int]]:
    found = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if found != sorted(_CLASSES):
        raise ValueError(f"{folder}: expected one folder for each of {', '.join(_CLASSES)}; found {found}")
    files: list[os.DirEntry[str]] = []
    labels: list[int] = []
    for label, name in enumerate(_CLASSES):
        with os.scandir(folder / name) as entries:
            images = [entry for entry in entries if entry.name.lower().endswith(SUFFIXES)]
        if not images:
            raise ValueError(f"{folder / name}: no image ({', '.join(SUFFIXES)}) in it")
        require_number(folder / name, len(images), request.name, _NUMBER_IN_A_CLASS[request.part])
        files += sorted(images, key=lambda entry: entry.name)
        labels += [label] * len(images)
    return files, labels


def _decode(files: list[str], labels: list[int]) -> dict[str, Tensor]:
    # One thread: at 0.1 ms a file, threads would only hand the interpreter lock around.
    order = _order(len(files))
    x = torch.empty(len(files), 3, 32, 32, dtype=torch.uint8)
    for row, position in enumerate(order.tolist()):
        x[row] = _read(files[position])
    return {"x": x, "y": torch.tensor(labels)[order]}


def _order(number: int) -> Tensor:
    return torch.randperm(number, generator=torch.Generator().manual_seed(0))


def _is_folder(kept: dict[str, Tensor], files: list[str], labels: list[int]) -> bool:
    """Whether kept tensors are those of a folder, by all labels and a sample of its images."""
    order = _order(len(files))
    rows = torch.linspace(0, len(files) - 1, _PROBES).to(torch.int64).tolist()
    images = torch.stack([_read(files[order[row]]) for row in rows])
    x, y = kept["x"], kept["y"]
    whole = x.shape == (len(files), *images.shape[1:]) and x.dtype == images.dtype and y.dtype == torch.int64
    return whole and torch.equal(y, torch.tensor(labels)[order]) and torch.equal(x[rows], images)


def _read(path: str) -> Tensor:
    return read_image(path, size=(32, 32), way_out="fetch the folder again")
