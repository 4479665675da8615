"""Small sets in the layouts that the loaders read, and guards around the network, the cache and the root."""

import gzip
import struct
import urllib.error

import pytest
import torch
from PIL import Image

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture(autouse=True)
def _isolated(monkeypatch, tmp_path):
    """No network, a cache of its own, and no data root but the one that a test passes."""

    def no_network(*args, **kwargs):
        raise urllib.error.URLError("the tests have no network")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    monkeypatch.setenv("IB_PYRO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("IB_PYRO_DATA", raising=False)


def idx_bytes(values):
    """The IDX file of a uint8 tensor."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.to(torch.uint8).numpy().tobytes()


def fake_digits(count, generator):
    """Images like MNIST's: labels, and ink in a rectangle of random size, place and grey, within a margin of 4."""
    labels = torch.randint(10, (count,), generator=generator)
    labels[:10] = torch.arange(10)
    images = torch.zeros(count, 28, 28, dtype=torch.uint8)
    for image in images:
        top, left = torch.randint(4, 12, (2,), generator=generator).tolist()
        height, width = torch.randint(3, 12, (2,), generator=generator).tolist()
        ink = torch.randint(1, 256, (height, width), generator=generator)
        image[top : top + height, left : left + width] = ink.to(torch.uint8)
    return images, labels


def write_idx(folder, *, train=120, test=40, packed=False):
    """Write a set like MNIST into `folder` and return its tensors by file name."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(5)
    content = {}
    for prefix, count in (("train", train), ("t10k", test)):
        images, labels = fake_digits(count, generator)
        content[f"{prefix}-images-idx3-ubyte"] = images
        content[f"{prefix}-labels-idx1-ubyte"] = labels
    for name, values in content.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(values)))
        else:
            (folder / name).write_bytes(idx_bytes(values))
    return content


def write_png(path, image):
    """Write a uint8 tensor [C, H, W] of one or three channels as a PNG image."""
    Image.fromarray(image.permute(1, 2, 0).squeeze(2).numpy()).save(path)


def write_image_folder(root, *, train=8, test=3):
    """Write a set like CIFAR-10 as PNG images, whose red channel is ten times the class."""
    generator = torch.Generator().manual_seed(6)
    for part, count in (("train", train), ("test", test)):
        for label, name in enumerate(CIFAR_CLASSES):
            folder = root / "cifar10" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=generator)
                image[0] = 10 * label
                write_png(folder / f"{number:04d}.png", image)


@pytest.fixture(name="fake_digits")
def _fake_digits():
    return fake_digits


@pytest.fixture(name="write_idx")
def _write_idx():
    return write_idx


@pytest.fixture(name="write_png")
def _write_png():
    return write_png


@pytest.fixture
def small_mnist(tmp_path):
    """A root with a small set in MNIST's place."""
    root = tmp_path / "data"
    write_idx(root / "MNIST" / "raw")
    return root


@pytest.fixture
def small_root(small_mnist):
    """A root with small sets in the places of MNIST and CIFAR-10."""
    write_image_folder(small_mnist)
    return small_mnist
