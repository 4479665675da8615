"""Names, splits, limits, roots and caches of `load`."""

import pytest
import torch

from ib_pyro.data import DATASETS, load
from ib_pyro.data.request import cache_folder, data_root


def _rows(data):
    return {tuple(x.flatten().tolist()) for x in data.x}


def test_digits_need_nothing():
    splits = {split: load("digits", split) for split in ("train", "validation", "test")}
    assert {split: len(data) for split, data in splits.items()} == {
        "train": 1200,
        "validation": 237,
        "test": 360,
    }
    for data in splits.values():
        assert data.x.dtype == torch.float32
        assert data.image_shape == (1, 8, 8)
        assert (data.x.amin(), data.x.amax()) == (0, 1)
        assert data.classes == tuple("0123456789")
        share = torch.bincount(data.y) / len(data)
        assert (share - 0.1).abs().max() < 0.01


def test_digits_can_be_told_apart_by_their_labels():
    train, test = load("digits", "train"), load("digits", "test")
    nearest = torch.cdist(test.x.flatten(1), train.x.flatten(1)).argmin(1)
    assert (train.y[nearest] == test.y).double().mean() > 0.97


@pytest.mark.parametrize("name", DATASETS)
def test_splits_part_the_training_pool_and_leave_the_test_alone(name, small_root, write_idx):
    write_idx(small_root / "FashionMNIST" / "raw")
    splits = {
        split: load(name, split, root=small_root, holdout=30)
        for split in ("train", "validation", "train+validation", "test")
    }
    train, validation, both, test = (_rows(data) for data in splits.values())
    assert len(splits["validation"]) == 30
    assert train | validation == both
    assert train & validation == set()
    assert both & test == set()
    assert _rows(load(name, "test", root=small_root, holdout=5)) == test


def test_holdout_zero_is_the_whole_pool(small_mnist):
    whole = load("mnist", "train", root=small_mnist, holdout=0)
    both = load("mnist", "train+validation", root=small_mnist, holdout=20)
    assert torch.equal(whole.x, both.x)
    with pytest.raises(ValueError, match="holdout: 0 leaves no validation images of 'mnist'"):
        load("mnist", "validation", root=small_mnist, holdout=0)


def test_the_default_holdout_must_leave_something_to_train_on(small_mnist):
    with pytest.raises(ValueError, match="holdout: 10000 of a training pool of 120 images"):
        load("mnist", "train", root=small_mnist)


def test_what_is_held_out_does_not_depend_on_the_seed():
    assert torch.equal(load("digits", "validation", seed=0).x, load("digits", "validation", seed=7).x)


def test_the_limit_takes_a_stratified_part_that_the_seed_chooses():
    few, more = load("digits", "train", limit=100), load("digits", "train", limit=300)
    assert _rows(few) < _rows(more) < _rows(load("digits", "train"))
    assert torch.bincount(few.y).min() >= 9
    assert _rows(few) != _rows(load("digits", "train", limit=100, seed=1))
    assert torch.equal(few.x, load("digits", "train", limit=100).x)


@pytest.mark.parametrize("limit", [0, -1, 1201])
def test_limits_that_the_split_cannot_give(limit):
    with pytest.raises(ValueError, match=f"limit: {limit} of the 1200 train images; give 1 to 1200"):
        load("digits", "train", limit=limit)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("MNIST", "'mnist'"),
        ("cifar-10", "'cifar10'"),
        ("occluded_cifar", "'occluded-cifar'"),
        ("digit", "'digits'"),
    ],
)
def test_unknown_names_come_with_the_nearest(name, near):
    with pytest.raises(
        ValueError, match=f"name: '{name}' is unknown; did you mean {near}.*Choose 'digits', 'mnist'"
    ):
        load(name, "train")


def test_unknown_names_and_splits_are_refused():
    with pytest.raises(ValueError, match="name: 'zzz' is unknown; choose 'digits', 'mnist'"):
        load("zzz", "train")
    with pytest.raises(ValueError, match="split: 'valid' is unknown; did you mean 'validation'"):
        load("digits", "valid")


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in ("digits", "fashion-mnist")])
def test_without_a_root_the_way_out_is_said(name):
    with pytest.raises(
        ValueError, match=r"needs a folder with its data; pass root=DIR or set .* IB_PYRO_DATA"
    ):
        load(name, "train")


def test_the_environment_names_the_root(small_mnist, monkeypatch):
    monkeypatch.setenv("IB_PYRO_DATA", str(small_mnist))
    assert len(load("mnist", "test")) == 40
    assert data_root(None) == small_mnist
    assert str(data_root("/elsewhere")) == "/elsewhere"
    monkeypatch.setenv("IB_PYRO_DATA", "")
    assert data_root(None) is None


def test_the_cache_is_the_argument_or_the_environment_or_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("IB_PYRO_CACHE", "/from/environment")
    assert str(cache_folder("/given")) == "/given"
    assert str(cache_folder(None)) == "/from/environment"
    monkeypatch.delenv("IB_PYRO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder(None) == tmp_path / "ib_pyro"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder(None) == tmp_path / ".cache" / "ib_pyro"


def test_touches_no_ambient_randomness(small_root):
    before = torch.get_rng_state()
    load("occluded-cifar", "train", root=small_root, limit=20, holdout=10)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["cluttered-mnist", "occluded-cifar"])
def test_a_kept_file_of_another_set_is_painted_anew(small_root, tmp_path, name):
    first = load(name, "test", root=small_root)
    (kept,) = (tmp_path / "cache").glob(f"{name}-test-*.pt")
    x = torch.load(kept, weights_only=True)["x"]
    for other in ({"x": x.flip(0)}, {"x": x[:-1]}, {"x": x[:, :, ::2]}, {"y": x}, {"x": x.float()}):
        torch.save(other, kept)
        with pytest.warns(UserWarning, match="holds something else than it should"):
            assert torch.equal(load(name, "test", root=small_root).x, first.x)


@pytest.mark.parametrize("change", [lambda x: x / 16, lambda x: x[:-1], lambda x: x[:, :7]])
def test_digits_that_are_not_those_of_scikit_learn_are_refused(monkeypatch, change):
    import sklearn.datasets

    source = sklearn.datasets.load_digits()
    source.images = change(source.images)
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: source)
    with pytest.raises(ValueError, match=r"'digits': scikit-learn gives images of shape.*another version"):
        load("digits", "train")
