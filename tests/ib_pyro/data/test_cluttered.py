"""Cluttered MNIST is what its layout says, pixel by pixel, and a pure function of the seed."""

import pytest
import torch
from scipy import stats

from ib_pyro.data import load
from ib_pyro.data.cluttered import Clutter


@pytest.fixture
def digits(fake_digits):
    return fake_digits(30, torch.Generator().manual_seed(1))[0]


def _draw(digits, num_images=25, seed=0, **options):
    return Clutter.draw(num_images, digits, torch.Generator().manual_seed(seed), **options)


def _painted_by_hand(clutter, digits, n):
    canvas = torch.zeros(clutter.size, clutter.size, dtype=torch.int64)
    side = clutter.patch_size
    for donor, (py, px), (sy, sx) in zip(clutter.donor[n], clutter.piece[n], clutter.spot[n], strict=True):
        canvas[sy : sy + side, sx : sx + side] += digits[donor][py : py + side, px : px + side]
    y, x = clutter.place[n]
    canvas[y : y + 28, x : x + 28] += digits[clutter.digit[n]]
    return canvas.clamp(max=255)


@pytest.mark.parametrize("options", [{}, {"size": 40, "num_distractors": 5, "patch_size": 3}])
def test_every_pixel_is_as_painted_by_hand(digits, options):
    clutter = _draw(digits, **options)
    images = clutter.paint(digits)
    size = options.get("size", 96)
    assert images.shape == (25, 1, size, size)
    assert images.dtype == torch.uint8
    for n in range(25):
        assert torch.equal(images[n, 0].long(), _painted_by_hand(clutter, digits, n))


def test_the_ink_is_that_of_a_digit_and_of_21_squares_of_8_pixels():
    """Mnih et al. (2014). Digits of ones, which overlap to far less than white: no ink is lost."""
    digits = torch.ones(3, 28, 28, dtype=torch.uint8)
    ink = _draw(digits).paint(digits).sum((1, 2, 3), dtype=torch.int64)
    assert ink.tolist() == [28 * 28 + 21 * 8 * 8] * 25


def test_the_box_holds_the_digits_ink_exactly(digits):
    clutter = _draw(digits, num_distractors=0)
    images = clutter.paint(digits).squeeze(1)
    for image, (x0, y0, x1, y1), digit in zip(images, clutter.box(digits), clutter.digit, strict=True):
        rows, columns = image.nonzero().T
        assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert image[y0:y1, x0:x1].sum(dtype=torch.int64) == digits[digit].sum(dtype=torch.int64)


def test_an_image_does_not_depend_on_its_neighbours(digits):
    clutter = _draw(digits)
    index = torch.tensor([7, 3, 24])
    assert torch.equal(clutter[index].paint(digits), clutter.paint(digits)[index])


def test_places_are_uniform_to_the_edges(digits):
    clutter = _draw(digits, num_images=4000)
    for places, bound in ((clutter.place, 69), (clutter.spot, 89), (clutter.piece, 21)):
        for axis in (0, 1):
            counts = torch.bincount(places[..., axis].flatten(), minlength=bound)
            assert len(counts) == bound
            assert counts.min() > 0
            assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_refuses_what_does_not_fit(digits):
    with pytest.raises(ValueError, match="do not fit size=27"):
        _draw(digits, size=27)
    with pytest.raises(ValueError, match="patch_size=29 do not fit"):
        _draw(digits, patch_size=29)


def _load(root, split="train", **options):
    return load("cluttered-mnist", split, root=root, holdout=20, **options)


def test_shows_each_digit_of_its_source_once(small_mnist):
    for split, source in (("train+validation", "train+validation"), ("test", "test")):
        data = _load(small_mnist, split)
        digits = load("mnist", source, root=small_mnist, holdout=20)
        assert data.x.shape == (len(digits), 1, 96, 96)
        assert torch.bincount(data.y).tolist() == torch.bincount(digits.y).tolist()


def test_the_box_shows_a_digit_of_the_label(small_mnist):
    data = _load(small_mnist, "test")
    digits = load("mnist", "test", root=small_mnist)
    for x, y, (x0, y0, x1, y1) in zip(data.x[:, 0], data.y, data.box, strict=True):
        crop = x[y0:y1, x0:x1]
        candidates = digits.x[digits.y == y][:, 0].unfold(1, y1 - y0, 1).unfold(2, x1 - x0, 1)
        # Distractors only add ink: somewhere one of the label's digits lies below the crop, and has all its ink.
        below = (candidates <= crop + 1e-6).flatten(3).all(3)
        whole = (
            candidates.flatten(3).sum(3) >= digits.x[digits.y == y][:, 0].sum((1, 2))[:, None, None] - 1e-3
        )
        assert (below & whole).any()


def test_is_a_pure_function_of_the_seed(small_mnist, tmp_path):
    first = _load(small_mnist)
    torch.manual_seed(99)
    again = _load(small_mnist, cache=tmp_path / "other")
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.box, again.box)
    # From the cache that holds seed 0.
    other = _load(small_mnist, seed=1)
    assert not torch.equal(first.box, other.box)
    assert not torch.equal(first.x, other.x)
    assert torch.equal(other.x, _load(small_mnist, seed=1, cache=tmp_path / "third").x)


@pytest.mark.parametrize("kept", [False, True])
def test_the_limit_changes_no_image(small_mnist, tmp_path, kept):
    everything = _load(small_mnist, cache=tmp_path / "whole")
    few = _load(small_mnist, limit=12, cache=tmp_path / ("whole" if kept else "none"))
    rows = [int((everything.x == x).flatten(1).all(1).nonzero()) for x in few.x]
    assert torch.equal(few.y, everything.y[rows])
    assert torch.equal(few.box, everything.box[rows])
    assert rows == sorted(rows)


def test_whole_sets_are_kept_and_limited_ones_are_not(small_mnist, tmp_path, monkeypatch):
    cache = tmp_path / "fresh"
    _load(small_mnist, limit=12, cache=cache)
    assert not cache.exists()
    first = _load(small_mnist, cache=cache)
    assert [path.name.split("-v")[0] for path in cache.iterdir()] == ["cluttered-mnist-train"]

    paint = Clutter.paint

    def few(clutter, digits):
        assert len(clutter.digit) <= 5, "painted although it was kept"
        return paint(clutter, digits)

    monkeypatch.setattr(Clutter, "paint", few)
    assert torch.equal(_load(small_mnist, cache=cache).x, first.x)
    assert len(_load(small_mnist, limit=12, cache=cache)) == 12


def test_chunks_change_nothing(small_mnist, tmp_path, monkeypatch):
    first = _load(small_mnist)
    monkeypatch.setattr("ib_pyro.data.painted._CHUNK", 7)
    monkeypatch.setattr("ib_pyro.data.image_pool._CHUNK", 11)
    assert torch.equal(_load(small_mnist, cache=tmp_path / "other").x, first.x)


def test_other_digits_make_other_images(small_mnist, tmp_path, write_idx):
    write_idx(tmp_path / "other" / "MNIST" / "raw", train=130)
    assert len(_load(small_mnist)) == 100
    assert len(_load(tmp_path / "other")) == 110


def test_the_real_set_has_its_sizes(mnist_root):
    assert len(load("cluttered-mnist", "test", root=mnist_root, limit=20)) == 20
    with pytest.raises(ValueError, match="limit: 50001 of the 50000 train images"):
        load("cluttered-mnist", "train", root=mnist_root, limit=50_001)


def test_white_stays_white_however_many_pieces_lie_on_it():
    digits = torch.full((1, 28, 28), 255, dtype=torch.uint8)
    images = _draw(digits, num_images=2, num_distractors=600, size=28).paint(digits)
    assert (images == 255).all()
