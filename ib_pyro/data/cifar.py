"""CIFAR-10 from the batches of its authors or from a folder of images."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ib_pyro.data.cache import cached, fingerprint
from ib_pyro.data.download import fetch, missing
from ib_pyro.data.pool import Pool
from ib_pyro.data.request import Request

__all__ = ["cifar10_pool"]

_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SUFFIXES = (".jpg", ".jpeg", ".png")
# Part of the cache's key: raise it when the same files give other tensors.
_VERSION = 1


def cifar10_pool(request: Request) -> Pool:
    """Read CIFAR-10 from `cifar-10-batches-py` or from `cifar10/{train,test}/<class>/*` under the root.

    The batches are exact and come first. A folder of images is decoded once and kept in the cache; if its
    files are JPEG the pixels differ slightly from the exact ones. Files have no order of their own: theirs is
    drawn once and for all, so that neighbours are not of one class.

    Args:
        request: what is asked for.

    Returns:
        The pool, images of shape `[3, 32, 32]`.

    Raises:
        ValueError: no root, or files that are not what they should be.
        FileNotFoundError: no files, and no way to download them.
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
    files, labels = _list_images(folder)
    stats = [(Path(file.path).relative_to(folder).as_posix(), file.stat()) for file in files]
    listing = "".join(f"{name} {stat.st_size} {stat.st_mtime_ns}\n" for name, stat in stats)
    path = request.cache / f"cifar10-{request.part}-v{_VERSION}-{fingerprint(listing)}.pt"
    content = cached(path, lambda: _decode([file.path for file in files], labels))
    return content["x"], content["y"]


def _list_images(folder: Path) -> tuple[list[os.DirEntry[str]], list[int]]:
    found = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if found != sorted(_CLASSES):
        raise ValueError(f"{folder}: expected one folder for each of {', '.join(_CLASSES)}; found {found}")
    files: list[os.DirEntry[str]] = []
    labels: list[int] = []
    for label, name in enumerate(_CLASSES):
        with os.scandir(folder / name) as entries:
            images = [entry for entry in entries if entry.name.lower().endswith(_SUFFIXES)]
        if not images:
            raise ValueError(f"{folder / name}: no image ({', '.join(_SUFFIXES)}) in it")
        files += sorted(images, key=lambda entry: entry.name)
        labels += [label] * len(images)
    return files, labels


def _decode(files: list[str], labels: list[int]) -> dict[str, Tensor]:
    # One thread: at 0.1 ms a file, threads would only hand the interpreter lock around.
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(0))
    x = torch.empty(len(files), 3, 32, 32, dtype=torch.uint8)
    for row, position in enumerate(order.tolist()):
        x[row] = _decode_file(files[position])
    return {"x": x, "y": torch.tensor(labels)[order]}


def _decode_file(path: str) -> Tensor:
    try:
        with Image.open(path) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB")))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path}: not a readable image ({error})") from error
    if pixels.shape != (32, 32, 3):
        raise ValueError(f"{path}: expected 32x32 pixels, got {pixels.shape[1]}x{pixels.shape[0]}")
    return pixels.permute(2, 0, 1)
