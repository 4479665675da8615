"""Where there is no network the error comes at once and says what to do."""

import threading
import time
import urllib.error
import urllib.request

import pytest

from ib_pyro.data import idx, load
from ib_pyro.data.download import fetch, unreachable


@pytest.mark.parametrize("download", [True, False])
def test_missing_mnist_names_files_and_commands(tmp_path, download):
    with pytest.raises(FileNotFoundError) as error:
        load("mnist", "train", root=tmp_path / "nowhere", download=download)
    message = str(error.value)
    for name in ("train-images", "train-labels", "t10k-images", "t10k-labels"):
        assert f"{tmp_path}/nowhere/MNIST/raw/{name}" in message
    assert f"from torchvision.datasets import MNIST; MNIST('{tmp_path}/nowhere', download=True)" in message
    assert "curl -L --create-dirs" in message
    assert ("the tests have no network" in message) == download
    assert ("download=False" in message) == (not download)
    assert not (tmp_path / "nowhere").exists()


def test_missing_fashion_mnist_names_debians_package(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "_DEBIAN_FASHION_MNIST", tmp_path / "debian")
    with pytest.raises(FileNotFoundError, match="apt-get install dataset-fashion-mnist"):
        load("fashion-mnist", "train", root=tmp_path)


def test_missing_cifar10_names_both_layouts(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load("cifar10", "train", root=tmp_path)
    assert "cifar-10-batches-py/ with data_batch_1 to data_batch_5" in str(error.value)
    assert "/cifar10/{train,test}/<class>/*.png" in str(error.value)
    assert "tar -xz -C" in str(error.value)


def test_a_generated_set_says_which_source_is_missing(small_mnist):
    with pytest.raises(FileNotFoundError, match="root: 'cifar10' is not in"):
        load("occluded-cifar", "train", root=small_mnist)


class _Answer:
    def __enter__(self):
        return self

    def __exit__(self, *args):
        return None


def test_a_silent_host_is_left_after_the_timeout(monkeypatch):
    answered = threading.Event()

    def silent(*args, **kwargs):
        answered.wait()
        return _Answer()

    monkeypatch.setattr(urllib.request, "urlopen", silent)
    start = time.monotonic()
    assert unreachable("http://silent.example", timeout=0.1) == "no answer within 0.1 s"
    assert time.monotonic() - start < 30
    answered.set()


def test_one_mirror_that_answers_is_enough(tmp_path, monkeypatch, write_idx):
    def answer(request, timeout):
        if "s3.amazonaws" in request.full_url:
            raise urllib.error.URLError("down")
        return _Answer()

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    monkeypatch.setattr(
        "torchvision.datasets.MNIST.download", lambda self: write_idx(tmp_path / "new" / "MNIST" / "raw")
    )
    assert len(load("mnist", "test", root=tmp_path / "new")) == 40


def test_a_download_that_breaks_off_is_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: _Answer())

    def broken(folder):
        raise RuntimeError("checksum")

    assert fetch(tmp_path, ["http://a.example"], broken) == "checksum"


def test_a_root_that_cannot_be_written_is_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: _Answer())
    monkeypatch.setattr("os.access", lambda path, mode: False)
    reason = fetch(tmp_path / "a" / "b", ["http://a.example"], lambda folder: pytest.fail("it was tried"))
    assert reason == f"{tmp_path} cannot be written"
