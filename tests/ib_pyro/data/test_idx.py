"""IDX files are read from every layout, and never believed blindly."""

import gzip
import struct

import pytest
import torch

from ib_pyro.data import idx, load


def _files(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("mnist", "MNIST/raw"),
        ("mnist", "mnist"),
        ("fashion-mnist", "FashionMNIST/raw"),
        ("fashion-mnist", "fashion-mnist"),
    ],
)
def test_reads_what_was_written_and_writes_nothing(tmp_path, write_idx, name, folder, packed):
    content = write_idx(tmp_path / folder, packed=packed)
    before = _files(tmp_path)
    for split, prefix in (("train+validation", "train"), ("test", "t10k")):
        data = load(name, split, root=tmp_path, holdout=20)
        images = content[f"{prefix}-images-idx3-ubyte"].unsqueeze(1)
        assert torch.equal(data.x, images / 255)
        assert data.x.dtype == torch.float32
        assert torch.equal(data.y, content[f"{prefix}-labels-idx1-ubyte"])
    assert _files(tmp_path) == before


def test_class_names_come_with_the_set(tmp_path, write_idx):
    write_idx(tmp_path / "FashionMNIST" / "raw")
    write_idx(tmp_path / "MNIST" / "raw")
    assert load("fashion-mnist", "test", root=tmp_path).classes[-1] == "Ankle boot"
    assert load("mnist", "test", root=tmp_path).classes == tuple("0123456789")


@pytest.mark.parametrize("given_root", [False, True])
def test_debians_fashion_mnist_needs_no_root(tmp_path, monkeypatch, write_idx, given_root):
    write_idx(tmp_path / "debian", packed=True)
    monkeypatch.setattr(idx, "_DEBIAN_FASHION_MNIST", tmp_path / "debian")
    root = tmp_path if given_root else None
    assert len(load("fashion-mnist", "test", root=root, download=False)) == 40


def test_without_debians_fashion_mnist_a_root_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "_DEBIAN_FASHION_MNIST", tmp_path / "debian")
    with pytest.raises(ValueError, match="root: 'fashion-mnist' needs a folder"):
        load("fashion-mnist", "test")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: b"\xff\xff" + raw[2:], "t10k-images-idx3-ubyte: not an IDX file of images"),
        (lambda raw: raw[:-1], "not an IDX file of images"),
        (lambda raw: b"", "not an IDX file of images"),
        (lambda raw: b"<html>404 not found</html>", "not an IDX file of images"),
        (lambda raw: raw[:3] + b"\x01" + raw[4:], "not an IDX file of images"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_files_are_refused_by_name(tmp_path, write_idx, damage, message, packed):
    folder = tmp_path / "MNIST" / "raw"
    write_idx(folder, packed=packed)
    path = folder / ("t10k-images-idx3-ubyte" + (".gz" if packed else ""))
    raw = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    path.write_bytes(gzip.compress(damage(raw)) if packed else damage(raw))
    with pytest.raises(ValueError, match=message.replace("ubyte:", "ubyte(.gz)?:")):
        load("mnist", "test", root=tmp_path)


def test_a_damaged_archive_is_refused(tmp_path, write_idx):
    folder = tmp_path / "MNIST" / "raw"
    write_idx(folder, packed=True)
    path = folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(ValueError, match=r"labels-idx1-ubyte.gz: not an IDX file of labels"):
        load("mnist", "test", root=tmp_path)


def test_images_and_labels_must_match(tmp_path, write_idx):
    folder = tmp_path / "MNIST" / "raw"
    write_idx(folder)
    (folder / "t10k-labels-idx1-ubyte").write_bytes((folder / "train-labels-idx1-ubyte").read_bytes())
    with pytest.raises(ValueError, match=r"has 40 images, but .* has 120 labels"):
        load("mnist", "test", root=tmp_path)


def test_labels_outside_of_the_classes_are_refused(tmp_path, write_idx):
    folder = tmp_path / "MNIST" / "raw"
    write_idx(folder)
    path = folder / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x0a")
    with pytest.raises(
        ValueError, match=r"t10k-labels-idx1-ubyte: labels go from 0 to 10, outside of 0\.\.9"
    ):
        load("mnist", "test", root=tmp_path)


def test_the_real_mnist_is_whole(mnist_root):
    everything = load("mnist", "train", root=mnist_root, holdout=0)
    assert everything.x.shape == (60_000, 1, 28, 28)
    assert (everything.x.amin(), everything.x.amax()) == (0, 1)
    # The mean that the field normalises MNIST by.
    assert float(everything.x.mean()) == pytest.approx(0.1307, abs=1e-4)
    test = load("mnist", "test", root=mnist_root)
    assert torch.bincount(test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def _write(path, values, kind=8, form="B"):
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape)
    path.write_bytes(header + values.numpy().astype(form).tobytes())


def _mnist(tmp_path, write_idx):
    folder = tmp_path / "MNIST" / "raw"
    content = write_idx(folder)
    return folder / "t10k-images-idx3-ubyte", folder / "t10k-labels-idx1-ubyte", content


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x: torch.nn.functional.pad(x, (2, 2, 2, 2)),
            r"images of 32x32 pixels, but those of '{name}' have 28x28",
        ),
        (lambda x: x[:, :14], r"images of 14x28 pixels, but those of '{name}' have 28x28"),
        (
            lambda x: (x > 127).to(torch.uint8),
            r"the brightest pixel is 1, where white is 255; write .* 0 to 255",
        ),
        (lambda x: x // 16, r"the brightest pixel is 15, where white is 255"),
        (lambda x: x * 0, r"the brightest pixel is 0, where white is 255"),
        (
            lambda x: x[0].expand(10_001, 28, 28),
            r"10001 images, but '{name}' has 10000 there; is it the other part",
        ),
    ],
)
@pytest.mark.parametrize("limit", [None, 3])
def test_images_that_are_not_of_the_set_are_refused(tmp_path, write_idx, name, change, message, limit):
    folder = tmp_path / {"mnist": "MNIST/raw", "fashion-mnist": "FashionMNIST/raw"}[name]
    content = write_idx(folder)
    path = folder / "t10k-images-idx3-ubyte"
    _write(path, change(content[path.name]))
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte: " + message.format(name=name)):
        load(name, "test", root=tmp_path, limit=limit)


@pytest.mark.parametrize(
    ("kind", "form"), [(0x0D, ">f4"), (0x0E, ">f8"), (0x0C, ">i4"), (0x0B, ">i2"), (0x09, "i1")]
)
@pytest.mark.parametrize("what", ["images", "labels"])
def test_files_of_another_type_are_refused(tmp_path, write_idx, kind, form, what):
    images, labels, content = _mnist(tmp_path, write_idx)
    path = images if what == "images" else labels
    _write(path, content[path.name] // 2, kind, form)
    with pytest.raises(
        ValueError, match=rf"{path.name}: {what} must be unsigned bytes, from 0 to 255.*LabelledImages"
    ):
        load("mnist", "test", root=tmp_path)


@pytest.mark.parametrize("limit", [None, 5])
def test_labels_are_checked_beyond_the_images_that_are_asked_for(tmp_path, write_idx, limit):
    _, labels, content = _mnist(tmp_path, write_idx)
    wrong = content[labels.name].clone()
    wrong[-1] = 26
    _write(labels, wrong)
    with pytest.raises(
        ValueError, match=r"t10k-labels-idx1-ubyte: labels go from 0 to 26, outside of 0\.\.9; fetch"
    ):
        load("mnist", "test", root=tmp_path, limit=limit)


@pytest.mark.parametrize("change", [lambda x: 255 - x, lambda x: x.roll((9, 9), (1, 2))])
def test_other_images_in_the_place_of_mnist_are_refused(tmp_path, write_idx, change):
    """Clothes and inverted digits reach the rim; MNIST's digits stand in the middle."""
    images, _, content = _mnist(tmp_path, write_idx)
    _write(images, change(content[images.name]))
    with pytest.raises(
        ValueError, match=r"ubyte: \d+ of 40 images have ink in their outermost pixels.*Fashion-MNIST"
    ):
        load("mnist", "test", root=tmp_path)


def test_a_subset_is_read(tmp_path, write_idx):
    images, labels, content = _mnist(tmp_path, write_idx)
    for path in (images, labels):
        _write(path, content[path.name][:3])
    assert len(load("mnist", "test", root=tmp_path)) == 3


@pytest.mark.parametrize("count", [1, 2, 10, 1000])
def test_subsets_of_the_real_mnist_are_read(tmp_path, mnist_root, count):
    from torchvision.datasets.mnist import read_image_file, read_label_file

    folder = tmp_path / "mnist"
    folder.mkdir()
    raw = mnist_root / "MNIST" / "raw"
    start = 5000
    for name, read in (
        ("t10k-images-idx3-ubyte", read_image_file),
        ("t10k-labels-idx1-ubyte", read_label_file),
    ):
        _write(folder / name, read(str(raw / name))[start : start + count])
    assert len(load("mnist", "test", root=tmp_path)) == count


def test_an_archive_that_would_fill_the_memory_is_not_unpacked(tmp_path, write_idx, monkeypatch):
    folder = tmp_path / "MNIST" / "raw"
    write_idx(folder, packed=True)
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(bytes(3_000_000)))
    monkeypatch.setattr("ib_pyro.data.idx._MOST_BYTES", 1_000_000)
    with pytest.raises(ValueError, match="unpacks to more than 1000000 bytes.*fetch it again"):
        load("mnist", "test", root=tmp_path)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_an_archive_with_a_turned_byte_is_refused(tmp_path, write_idx, place):
    folder = tmp_path / "MNIST" / "raw"
    write_idx(folder, packed=True)
    path = folder / "t10k-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte\.gz: not an IDX file"):
        load("mnist", "test", root=tmp_path)
