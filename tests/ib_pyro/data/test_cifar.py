"""CIFAR-10 from the authors' batches and from a folder of images."""

import hashlib
import os
import pickle
import shutil
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from ib_pyro.data import cifar, load
from ib_pyro.data.image_files import read_image


def _sorted_rows(x):
    return sorted(x.flatten(1).mul(255).round().to(torch.int64).tolist())


def test_folder_is_read_as_it_is(small_root):
    data = load("cifar10", "test", root=small_root)
    assert data.x.shape == (30, 3, 32, 32)
    assert data.classes[3] == "cat"
    files = (small_root / "cifar10" / "test").rglob("*.png")
    expected = np.stack([np.asarray(Image.open(path)) for path in files]).transpose(0, 3, 1, 2) / 255
    assert _sorted_rows(data.x) == _sorted_rows(torch.from_numpy(expected))
    assert torch.equal((data.x[:, 0, 0, 0] * 25.5).round().long(), data.y)


def test_folder_is_shuffled_once_and_for_all(small_root, tmp_path):
    first = load("cifar10", "train+validation", root=small_root, holdout=10)
    assert len(first.y[:20].unique()) > 5
    again = load("cifar10", "train+validation", root=small_root, holdout=10, seed=3, cache=tmp_path / "other")
    assert torch.equal(first.x, again.x)


def test_folder_is_decoded_once(small_root, monkeypatch):
    first = load("cifar10", "test", root=small_root)

    def never(*args):
        raise AssertionError("decoded although it was kept")

    monkeypatch.setattr(cifar, "_decode", never)
    assert torch.equal(load("cifar10", "test", root=small_root).x, first.x)


def test_a_changed_folder_is_decoded_anew(small_root, write_png):
    before = load("cifar10", "test", root=small_root)
    new = small_root / "cifar10" / "test" / "cat" / "new.png"
    write_png(new, torch.zeros(3, 32, 32, dtype=torch.uint8))
    after = load("cifar10", "test", root=small_root)
    assert (len(before), len(after)) == (30, 31)


def test_a_file_of_another_size_is_decoded_anew_whatever_its_date(small_root, write_png):
    path = small_root / "cifar10" / "test" / "cat" / "0000.png"
    before, dates = load("cifar10", "test", root=small_root), path.stat()
    write_png(path, torch.full((3, 32, 32), 255, dtype=torch.uint8))
    os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    after = load("cifar10", "test", root=small_root)
    assert (before.x != after.x).flatten(1).any(1).sum() == 1


def test_grey_images_become_colour(small_root, write_png):
    path = small_root / "cifar10" / "test" / "airplane" / "0000.png"
    write_png(path, torch.full((1, 32, 32), 51, dtype=torch.uint8))
    data = load("cifar10", "test", root=small_root)
    assert (data.x == 0.2).flatten(1).all(1).sum() == 1


def test_bad_folders_are_refused_by_name(small_root, write_png):
    folder = small_root / "cifar10" / "test"
    (folder / "dog" / "0000.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"dog/0000\.png: not a readable image"):
        load("cifar10", "test", root=small_root)
    write_png(folder / "dog" / "0000.png", torch.zeros(3, 28, 30, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"dog/0000\.png: expected 32x32 pixels, got 30x28"):
        load("cifar10", "test", root=small_root)
    for path in (folder / "dog").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"dog: no image \(\.jpg, \.jpeg, \.png\) in it"):
        load("cifar10", "test", root=small_root)
    (folder / "dog").rmdir()
    with pytest.raises(ValueError, match="one folder for each of airplane"):
        load("cifar10", "test", root=small_root)


def test_a_missing_part_is_said(small_root):
    shutil.rmtree(small_root / "cifar10" / "test")
    with pytest.raises(FileNotFoundError, match=r"cifar10/\{train,test\}/<class>"):
        load("cifar10", "test", root=small_root, download=False)


@pytest.fixture
def batches_root(tmp_path, monkeypatch):
    """The authors' layout with batches of 20 random images, and checksums to match."""
    generator = np.random.default_rng(0)
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()

    def write(name, content):
        raw = pickle.dumps(content)
        (folder / name).write_bytes(raw)
        return hashlib.md5(raw, usedforsecurity=False).hexdigest()

    def batch():
        images = generator.integers(0, 256, (20, 3072), dtype=np.uint8)
        images[:, 0] = np.arange(20) % 10
        return {"data": images, "labels": (np.arange(20) % 10).tolist()}

    train = [[f"data_batch_{k}", write(f"data_batch_{k}", batch())] for k in range(1, 6)]
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", write("test_batch", batch())]])
    meta = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": meta})
    return tmp_path


def test_batches_are_read_in_their_order(batches_root):
    data = load("cifar10", "train+validation", root=batches_root, holdout=10)
    assert data.x.shape == (100, 3, 32, 32)
    raw = pickle.loads((batches_root / CIFAR10.base_folder / "data_batch_2").read_bytes())["data"]
    assert torch.equal(data.x[20:40].flatten(1), torch.from_numpy(raw) / 255)
    assert torch.equal((data.x[:, 0, 0, 0] * 255).round().long(), data.y)


def test_damaged_batches_are_refused(batches_root):
    path = batches_root / CIFAR10.base_folder / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="cifar-10-batches-py: a file is missing or damaged"):
        load("cifar10", "train", root=batches_root)


def test_the_real_cifar10_is_whole(data_root):
    if not any((data_root / name).is_dir() for name in ("cifar10", CIFAR10.base_folder)):
        pytest.skip(f"needs CIFAR-10: neither cifar10 nor {CIFAR10.base_folder} in IB_PYRO_DATA={data_root}")
    data = load("cifar10", "test", root=data_root)
    assert data.x.shape == (10_000, 3, 32, 32)
    assert torch.bincount(data.y).tolist() == [1000] * 10
    # The means of the channels that the field normalises CIFAR-10 by.
    expected = torch.tensor([0.494, 0.485, 0.450])
    assert torch.allclose(data.x.mean((0, 2, 3)), expected, atol=2e-3)


def test_a_kept_file_with_other_images_is_made_anew(small_root, tmp_path):
    first = load("cifar10", "test", root=small_root)
    (kept,) = (tmp_path / "cache").glob("cifar10-test-*.pt")
    content = torch.load(kept, weights_only=True)
    for other in (
        {"x": 255 - content["x"], "y": content["y"]},
        {"x": content["x"], "y": content["y"].roll(1)},
        {"x": content["x"][:-1], "y": content["y"][:-1]},
        {"x": content["x"]},
        {"x": content["x"].float(), "y": content["y"]},
    ):
        torch.save(other, kept)
        with pytest.warns(UserWarning, match="holds something else than it should"):
            again = load("cifar10", "test", root=small_root)
        assert torch.equal(again.x, first.x)
        assert torch.equal(again.y, first.y)


def test_images_that_are_not_of_the_set_are_refused_by_name(small_root, write_png, monkeypatch):
    path = small_root / "cifar10" / "test" / "dog" / "0000.png"
    # Older Pillow says of grey of 16 bits that it has 32.
    for mode, told in (("1", "1"), ("I;16", "I(;16)?")):
        Image.new(mode, (32, 32)).save(path)
        with pytest.raises(ValueError, match=rf"dog/0000\.png: pixels of PIL's mode '{told}'.*from 0 to 255"):
            load("cifar10", "test", root=small_root)
    monkeypatch.setitem(cifar._NUMBER_IN_A_CLASS, "test", 2)
    with pytest.raises(ValueError, match=r"test/airplane: 3 images, but 'cifar10' has 2 there"):
        load("cifar10", "test", root=small_root)
    monkeypatch.undo()


def test_a_folder_of_zeros_and_ones_is_refused(small_root, write_png):
    for path in (small_root / "cifar10" / "test").rglob("*.png"):
        write_png(path, torch.randint(0, 2, (3, 32, 32), dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"cifar10/test: the brightest pixel is 1, where white is 255"):
        load("cifar10", "test", root=small_root)


def sixteen_bits(colour, channels):
    """A PNG of 32x32 pixels of 16 bits, which PIL itself does not write in colour."""
    rows = b"".join(b"\0" + (b"\x03\xe8" * (32 * channels)) for _ in range(32))

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 16, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("colour", "channels", "mode"), [(0, 1, "I(;16)?"), (2, 3, "RGB;16B"), (6, 4, "RGBA;16B")]
)
def test_pixels_of_sixteen_bits_are_not_cut_to_eight(small_root, colour, channels, mode):
    (small_root / "cifar10" / "test" / "dog" / "0000.png").write_bytes(sixteen_bits(colour, channels))
    with pytest.raises(ValueError, match=rf"dog/0000\.png: pixels of PIL's mode '{mode}'"):
        load("cifar10", "test", root=small_root)


def test_a_file_of_another_format_is_not_handed_to_its_decoder(small_root, monkeypatch):
    ran = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_args, **_options: ran.append(True))
    path = small_root / "cifar10" / "test" / "dog" / "0000.png"
    for content in (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n",
        b"GIF89a" + bytes(20),
        b"",
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        path.read_bytes()[:60],
        path.read_bytes()[:-30],
    ):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"dog/0000\.png: not a readable image, PNG or JPEG .*; fetch the folder again"
        ):
            load("cifar10", "test", root=small_root)
    assert not ran


@pytest.mark.parametrize("side", [33, 9_000, 60_000])
def test_a_picture_that_would_fill_the_memory_is_not_decoded(small_root, side, monkeypatch):
    """By its head alone: what it says of its size is larger than what is in it."""
    content = bytearray(sixteen_bits(2, 3))
    content[16:24] = struct.pack(">II", side, side)
    content[24] = 8
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    path = small_root / "cifar10" / "test" / "dog" / "0000.png"
    path.write_bytes(content)
    monkeypatch.setattr(Image.Image, "convert", None)
    with pytest.raises(ValueError, match=r"dog/0000\.png: (expected 32x32 pixels|not a readable image)"):
        read_image(str(path), size=(32, 32), way_out="")
