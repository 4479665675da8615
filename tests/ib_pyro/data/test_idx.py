"""IDX files are read from every layout, and never believed blindly."""

import gzip

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
    with pytest.raises(ValueError, match=r"y: labels go from 0 to 10, outside of 0\.\.9"):
        load("mnist", "test", root=tmp_path)


def test_the_real_mnist_is_whole(mnist_root):
    everything = load("mnist", "train", root=mnist_root, holdout=0)
    assert everything.x.shape == (60_000, 1, 28, 28)
    assert (everything.x.amin(), everything.x.amax()) == (0, 1)
    # The mean that the field normalises MNIST by.
    assert float(everything.x.mean()) == pytest.approx(0.1307, abs=1e-4)
    test = load("mnist", "test", root=mnist_root)
    assert torch.bincount(test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
