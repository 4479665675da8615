"""Samples of a set: each image once, in its place, under its labels, its box around its ink."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ib_pyro.data import LabelledImages
from ib_pyro.plots import plot_samples

CLASSES = ("cat", "dog")
PLAIN = LabelledImages(torch.rand(5, 3, 6, 4), torch.tensor([0, 1, 1, 0, 1]), CLASSES)
OCCLUDED = replace(PLAIN, nuisance=torch.tensor([2, 0, 1, 1, 0]), nuisance_classes=("zero", "one", "two"))


def inked(boxes: torch.Tensor) -> LabelledImages:
    """Grey images that are white within their boxes and black elsewhere."""
    x = torch.zeros(len(boxes), 1, 10, 8)
    for image, (x0, y0, x1, y1) in zip(x, boxes.tolist(), strict=True):
        image[:, y0:y1, x0:x1] = 1
    return LabelledImages(x, torch.zeros(len(boxes), dtype=torch.int64), CLASSES, box=boxes)


def extents(ax):
    return np.array([image.get_extent() for image in ax.images])


def test_the_first_images_in_rows_without_overlap(ax):
    plot_samples(PLAIN, 5, columns=3, ax=ax)
    for image, expected in zip(ax.images, PLAIN.x, strict=True):
        np.testing.assert_allclose(image.get_array(), expected.permute(1, 2, 0))
        assert image.get_clim() == (0, 1)
    left, right, bottom, top = extents(ax).T
    np.testing.assert_allclose(right - left, 4)
    np.testing.assert_allclose(bottom - top, 6)
    np.testing.assert_allclose(left, left[[0, 1, 2, 0, 1]])
    np.testing.assert_allclose(top, top[[0, 0, 0, 3, 3]])
    assert left[1] > right[0]
    assert top[3] > bottom[0]
    assert ax.get_xlim() == pytest.approx((left[0], right[2]))
    assert ax.get_ylim()[0] == pytest.approx(bottom[3])


def test_a_class_alone_and_with_a_nuisance(ax):
    plot_samples(PLAIN, 3, ax=ax)
    assert [text.get_text() for text in ax.texts] == ["cat", "dog", "dog"]
    ax.clear()
    plot_samples(OCCLUDED, 3, ax=ax)
    titles = [text.get_text() for text in ax.texts]
    assert titles == ["cat\nnuisance: two", "dog\nnuisance: zero", "dog\nnuisance: one"]


def test_a_title_stands_above_its_own_image(ax):
    plot_samples(OCCLUDED, 4, columns=2, ax=ax)
    for text, (left, right, _, top) in zip(ax.texts, extents(ax), strict=True):
        x, y = text.get_position()
        assert x == (left + right) / 2
        assert y < top
    assert ax.texts[2].get_position()[1] > extents(ax)[0, 2]


def test_a_box_lies_around_the_pixels_that_it_names(ax):
    boxes = torch.tensor([[1, 2, 5, 9], [0, 0, 8, 10], [7, 9, 8, 10]])
    plot_samples(inked(boxes), 3, columns=2, ax=ax)
    for line, image, (left, _, _, top) in zip(ax.lines, ax.images, extents(ax), strict=True):
        (x0, x1), (y0, y1) = (
            (values.min(), values.max()) for values in (line.get_xdata() - left, line.get_ydata() - top)
        )
        white = image.get_array().data
        inside = white[round(y0) : round(y1), round(x0) : round(x1)]
        assert inside.all()
        assert inside.size == white.sum()


def test_no_box_without_one(ax):
    plot_samples(PLAIN, 2, ax=ax)
    assert not ax.lines


def test_grey_images_and_rounding_are_taken(ax):
    grey = replace(PLAIN, x=torch.tensor([-1e-6, 1 + 1e-6]).repeat(5, 1, 2, 2), box=None)
    plot_samples(grey, 1, ax=ax)
    assert ax.images[0].get_array().shape == (2, 4)
    assert ax.images[0].get_array().min() == 0


def test_refusals(ax):
    for num in (0, 6):
        with pytest.raises(ValueError, match=f"num: {num} of a set of 5 images; give 1 to 5"):
            plot_samples(PLAIN, num, ax=ax)
    with pytest.raises(ValueError, match="columns: 0"):
        plot_samples(PLAIN, 2, columns=0, ax=ax)
    with pytest.raises(ValueError, match="1 or 3 channels"):
        plot_samples(replace(PLAIN, x=PLAIN.x[:, :2]), 2, ax=ax)
    with pytest.raises(ValueError, match="before they are normalised"):
        plot_samples(replace(PLAIN, x=4 * PLAIN.x - 2), 2, ax=ax)
    with pytest.raises(ValueError, match="x: 144 of 144 values are NaN"):
        plot_samples(replace(PLAIN, x=PLAIN.x * torch.nan), 2, ax=ax)
