"""Preparation of the images: per-image normalisation, then a whitening of the training split's, where it is asked."""

from dataclasses import replace

import pytest
import torch

from ib_pyro.data import LabelledImages
from inference.runs import splits
from inference.runs.data_spec import DataSpec

SIDE = 3
PIXELS = SIDE * SIDE
SIZES = {"train": 400, "validation": 50, "test": 60}


def images(count, seed, *, mixing):
    """Images whose pixels are correlated, by another matrix for each ``mixing``."""
    draw = torch.randn(count, PIXELS, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    matrix = torch.randn(PIXELS, PIXELS, dtype=torch.float64, generator=torch.Generator().manual_seed(mixing))
    x = (draw @ matrix).view(count, 1, SIDE, SIDE)
    return LabelledImages(x, torch.zeros(count, dtype=torch.int64), ("a", "b"))


@pytest.fixture
def sets():
    """The splits of a set in place of the real ones."""
    return {
        "train": images(SIZES["train"], 1, mixing=1),
        "validation": images(SIZES["validation"], 2, mixing=2),
        "test": images(SIZES["test"], 3, mixing=2),
    }


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load the splits of a run on given sets, each time in a place of its own unless one is named."""
    places = []

    def load_from(sets, *, place=None, **settings):
        def stored(_name, split, *, limit=None, holdout=None, **_):
            found = sets[split]
            if split == "train" and holdout:
                found = found.subset(slice(holdout, None))
            return found if limit is None else found.subset(slice(limit))

        monkeypatch.setattr(splits, "load", stored)
        places.append(place or tmp_path / str(len(places)))
        return DataSpec(**{"data": "cifar10", "data_root": tmp_path, "whiten": True, **settings}).build(
            places[-1]
        )

    return load_from


def covariance(x):
    return x.flatten(1).T.cov()


def other_light(part):
    """The same images, each with a brightness and a contrast of its own."""
    generator = torch.Generator().manual_seed(9)
    contrast = 0.5 + 3 * torch.rand(len(part), 1, 1, 1, generator=generator, dtype=torch.float64)
    brightness = 2 * torch.rand(len(part), 1, 1, 1, generator=generator, dtype=torch.float64)
    return LabelledImages(contrast * part.x + brightness, part.y, part.classes)


def test_images_that_are_not_to_be_whitened_are_left_as_they_are(load, sets):
    found = load(sets, whiten=False)
    for name, part in sets.items():
        assert torch.equal(getattr(found, name).x, part.x)


def test_the_training_split_is_white_and_the_others_are_whitened_as_it_was(load, sets):
    found = load(sets)
    # Centred images have no variance along their mean.
    projection = torch.eye(PIXELS, dtype=torch.float64) - 1 / PIXELS
    torch.testing.assert_close(covariance(found.train.x), projection, rtol=0, atol=1e-3)
    assert (covariance(found.test.x) - projection).abs().max() > 0.3
    # Had the others taken part in the fit, others yet would change it.
    different = {**sets, "validation": images(50, 5, mixing=5), "test": images(60, 6, mixing=6)}
    assert torch.equal(load(different).train.x, found.train.x)
    moved = load({**sets, "train": images(SIZES["train"], 1, mixing=7)})
    assert not torch.allclose(moved.test.x, found.test.x, atol=0.1)
    assert not torch.allclose(moved.validation.x, found.validation.x, atol=0.1)


@pytest.mark.parametrize("changed", ["train", "validation", "test"])
def test_brightness_and_contrast_of_an_image_do_not_matter(load, sets, changed):
    plain = load(sets)
    lit = load({**sets, changed: other_light(sets[changed])})
    for name in sets:
        torch.testing.assert_close(getattr(lit, name).x, getattr(plain, name).x, rtol=0, atol=1e-6)


def test_a_share_of_the_training_split_is_whitened_as_the_whole(load, sets):
    whole, share = load(sets), load(sets, limit=50)
    torch.testing.assert_close(share.train.x, whole.train.x[:50])
    torch.testing.assert_close(share.test.x, whole.test.x)


def test_each_holdout_has_a_whitening_of_its_own(load, sets, tmp_path):
    place = tmp_path / "shared"
    default = load(sets, place=place)
    held_out = load(sets, place=place, holdout=300)
    assert not torch.allclose(held_out.test.x, default.test.x, atol=1e-2)
    torch.testing.assert_close(held_out.test.x, load(sets, holdout=300).test.x)


def test_stand_ins_are_normalised_image_by_image_and_only_when_asked():
    sizes = {"limit": 20, "validation_limit": 0, "test_limit": 10}
    for whiten in (True, False):
        found = DataSpec(data="cifar10", stand_in=True, whiten=whiten, **sizes).build()
        assert found.validation is None
        for part in (found.train, found.test):
            std, mean = torch.std_mean(part.x, dim=(1, 2, 3))
            assert torch.allclose(mean, torch.zeros(()), atol=1e-5) == whiten
            assert torch.allclose(std, torch.ones(()), atol=1e-5) == whiten


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_wrong_labels_are_wrong_and_of_the_training_images_alone(sets, load, share):
    classes = tuple("abcde")
    sets = {
        split: replace(part, y=torch.arange(len(part)) % 5, classes=classes) for split, part in sets.items()
    }
    found = load(sets, whiten=False, wrong_labels=share)
    wrong = found.train.y != sets["train"].y
    assert wrong.sum() == share * SIZES["train"]
    assert torch.equal(found.validation.y, sets["validation"].y)
    assert torch.equal(found.test.y, sets["test"].y)
    assert torch.equal(found.train.x, sets["train"].x)
    if share == 1.0:
        # Each of the four other labels as often as another, to five standard errors.
        shift = (found.train.y - sets["train"].y) % 5
        assert all(abs(int((shift == k).sum()) - 100) < 5 * 75**0.5 for k in range(1, 5))
    if share == 0.4:
        assert torch.equal(load(sets, whiten=False, wrong_labels=share).train.y, found.train.y)
        other = load(sets, whiten=False, wrong_labels=share, data_seed=1).train.y
        assert not torch.equal(other, found.train.y)
