"""Occluded CIFAR is a digit painted over an image, pixel by pixel, with both labels."""

import pytest
import torch
from scipy import stats

from ib_pyro.data import load
from ib_pyro.data.occluded import Occlusion
from ib_pyro.data.sprites import ink_box


@pytest.fixture
def digits(fake_digits):
    return fake_digits(30, torch.Generator().manual_seed(1))[0]


def _draw(digits, num_images=40, seed=0, **options):
    return Occlusion.draw(num_images, digits, torch.Generator().manual_seed(seed), **options)


def _painted_by_hand(image, digit, box):
    x0, y0, x1, y1 = box.tolist()
    left, top, right, bottom = ink_box(digit[None])[0].tolist()
    opacity = torch.zeros(image.shape[1:], dtype=torch.float64)
    opacity[y0:y1, x0:x1] = digit[top:bottom, left:right] / 255
    return opacity + (1 - opacity) * (image / 255).double()


@pytest.mark.parametrize("size", [(32, 32), (20, 33)])
def test_every_pixel_is_as_painted_by_hand(digits, size):
    occlusion = _draw(digits, size=size)
    images = torch.randint(0, 256, (40, 3, *size), dtype=torch.uint8)
    painted = occlusion.paint(images, digits)
    assert painted.dtype == torch.uint8
    for n in range(40):
        expected = _painted_by_hand(images[n], digits[occlusion.digit[n]], occlusion.box[n])
        assert (painted[n] / 255 - expected).abs().max() <= 0.5001 / 255


def test_nothing_changes_outside_of_the_box(digits):
    occlusion = _draw(digits)
    images = torch.randint(0, 255, (40, 3, 32, 32), dtype=torch.uint8)
    changed = (occlusion.paint(images, digits) != images).any(1)
    for change, (x0, y0, x1, y1) in zip(changed, occlusion.box, strict=True):
        assert change.any()
        assert not torch.cat([change[:y0], change[y1:]]).any()
        assert not torch.cat([change[:, :x0], change[:, x1:]], dim=1).any()


def test_full_ink_hides_what_is_behind_it(digits):
    digits = (digits > 0).to(torch.uint8) * 255
    occlusion = _draw(digits)
    black, white = torch.zeros(40, 3, 32, 32, dtype=torch.uint8), torch.full((40, 3, 32, 32), 255).byte()
    assert torch.equal(occlusion.paint(white, digits), white)
    painted = occlusion.paint(black, digits)
    assert set(painted.unique().tolist()) == {0, 255}
    ink = digits[occlusion.digit].long().sum((1, 2))
    assert torch.equal(painted[:, 0].long().sum((1, 2)), ink)


def test_all_ink_is_visible_and_places_are_uniform_to_the_edges(digits):
    digits = digits[:1]
    box = _draw(digits, num_images=4000).box
    assert (box[:, :2] >= 0).all()
    assert (box[:, 2:] <= 32).all()
    width, height = (ink_box(digits)[0, 2:] - ink_box(digits)[0, :2]).tolist()
    for axis, extent in ((0, width), (1, height)):
        counts = torch.bincount(box[:, axis], minlength=33 - extent)
        assert len(counts) == 33 - extent
        assert counts.min() > 0
        assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_refuses_digits_that_do_not_fit(digits):
    with pytest.raises(ValueError, match=r"size: a digit of .* does not fit \(2, 2\)"):
        _draw(digits, size=(2, 2))


def _load(root, split="train", **options):
    return load("occluded-cifar", split, root=root, holdout=10, **options)


def test_comes_with_both_labels(small_root):
    data = _load(small_root, "train+validation")
    pictures = load("cifar10", "train+validation", root=small_root, holdout=10)
    digits = load("mnist", "train+validation", root=small_root, holdout=10)
    assert torch.equal(data.y, pictures.y)
    assert (data.classes[0], data.nuisance_classes[0]) == ("airplane", "0")
    assert torch.corrcoef(torch.stack([data.y, data.nuisance]).double())[0, 1].abs() < 0.4
    for n, (x0, y0, x1, y1) in enumerate(data.box.tolist()):
        before, after = pictures.x[n, 1, y0:y1, x0:x1], data.x[n, 1, y0:y1, x0:x1]
        # What must have been painted, where the picture lets it be seen.
        opacity = (after - before) / (1 - before)
        seen = before < 0.5
        own = [d[0] for d in digits.x[digits.y == data.nuisance[n]]]
        crops = [d[y : y + y1 - y0, x : x + x1 - x0] for d in own for x, y, *_ in [ink_box(d[None] > 0)[0]]]
        fits = [c for c in crops if c.shape == opacity.shape and ((c - opacity)[seen].abs() < 0.02).all()]
        assert len(fits) == 1


def test_parts_come_from_their_own_sources(small_root):
    data = _load(small_root, "test")
    pictures = load("cifar10", "test", root=small_root)
    assert torch.equal(data.y, pictures.y)
    outside = torch.ones(30, 32, 32, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(outside, data.box, strict=True):
        mask[y0:y1, x0:x1] = False
    keep = outside[:, None].expand(-1, 3, -1, -1)
    assert torch.equal(data.x[keep], pictures.x[keep])


def test_is_a_pure_function_of_the_seed(small_root, tmp_path):
    first = _load(small_root)
    torch.manual_seed(99)
    again = _load(small_root, cache=tmp_path / "other")
    other = _load(small_root, seed=1)
    for name in ("x", "y", "nuisance", "box"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert torch.equal(first.y, other.y)
    assert not torch.equal(first.nuisance, other.nuisance)
    assert torch.equal(other.x, _load(small_root, seed=1, cache=tmp_path / "third").x)


@pytest.mark.parametrize("kept", [False, True])
def test_the_limit_changes_no_image(small_root, tmp_path, kept):
    everything = _load(small_root, cache=tmp_path / "whole")
    few = _load(small_root, limit=20, cache=tmp_path / ("whole" if kept else "none"))
    rows = [int((everything.x == x).flatten(1).all(1).nonzero()) for x in few.x]
    for name in ("y", "nuisance", "box"):
        assert torch.equal(getattr(few, name), getattr(everything, name)[rows])
    assert torch.bincount(few.y).tolist() == [2] * 10
