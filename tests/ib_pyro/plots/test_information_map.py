"""The information map: absolute values, in register with the image."""

import numpy as np
import pytest
import torch
from matplotlib.colors import PowerNorm

from ib_pyro.plots import plot_information_map

RATE = torch.tensor([[0.0, 1.0], [2.0, 5.0]])
IMAGE = torch.linspace(0, 1, 3 * 8 * 6).reshape(3, 8, 6)


def test_values_are_absolute_and_total_is_stated(ax):
    plot_information_map(RATE, IMAGE, ax=ax)
    drawn = ax.images[-1]
    np.testing.assert_array_equal(drawn.get_array(), RATE)
    assert drawn.get_clim() == (0, 5)
    assert ax.get_title() == "rate: 8 nats"
    assert ax.figure.axes[1].get_ylabel() == "rate [nats per position]"


def test_over_covers_the_image_exactly_and_lets_it_through(ax):
    plot_information_map(RATE, IMAGE, ax=ax)
    image, drawn = ax.images
    assert list(image.get_extent()) == list(drawn.get_extent()) == [-0.5, 5.5, 7.5, -0.5]
    np.testing.assert_allclose(image.get_array(), IMAGE.mean(0), rtol=1e-6)
    assert image.get_alpha() is None
    assert 0 < drawn.get_alpha() < 1


def test_beside_shows_both_whole(ax):
    plot_information_map(RATE, IMAGE, style="beside", ax=ax)
    image, drawn = ax.images
    np.testing.assert_allclose(image.get_array(), IMAGE.permute(1, 2, 0))
    left, right = image.get_extent(), drawn.get_extent()
    assert right[0] > left[1]
    assert right[1] - right[0] == pytest.approx(left[1] - left[0])
    assert ax.get_xlim() == pytest.approx((left[0], right[1]))
    assert drawn.get_alpha() == 1
    labels = [tick.get_text() for tick in ax.get_xticklabels()]
    assert labels[: len(labels) // 2] == labels[len(labels) // 2 :]


def test_alone_it_counts_positions(ax):
    plot_information_map(RATE, vmax=10.0, title="layer 3", colorbar=False, ax=ax)
    assert len(ax.images) == len(ax.figure.axes) == 1
    assert ax.images[0].get_clim() == (0, 10)
    assert ax.get_title() == "layer 3"
    assert ax.get_xlabel() == "column [position]"


def test_a_norm_stretches_colours_and_leaves_nats(ax):
    plot_information_map(RATE, norm=PowerNorm(0.5, vmin=0, vmax=20), ax=ax)
    drawn = ax.images[-1]
    np.testing.assert_array_equal(drawn.get_array(), RATE)
    assert drawn.get_clim() == (0, 20)
    assert float(drawn.norm(5.0)) == pytest.approx(0.5)
    assert ax.figure.axes[1].get_ylim() == (0, 20)


def test_grey_images_of_either_shape(ax):
    for image in (IMAGE[:1], IMAGE[0]):
        plot_information_map(RATE, image, ax=ax)
        np.testing.assert_array_equal(ax.images[-2].get_array(), IMAGE[0])


def test_refusals(ax):
    with pytest.raises(ValueError, match="style: 'under'"):
        plot_information_map(RATE, style="under", ax=ax)
    with pytest.raises(ValueError, match="vmax: 3"):
        plot_information_map(RATE, vmax=3, norm=PowerNorm(0.5), ax=ax)
    with pytest.raises(ValueError, match="image: expected"):
        plot_information_map(RATE, torch.rand(2, 8, 6), ax=ax)
    with pytest.raises(ValueError, match="rate: expected"):
        plot_information_map(RATE[None], ax=ax)
    with pytest.raises(ValueError, match=r"rate: 1 of 4 values are infinite, first \[1, 1\]"):
        plot_information_map(torch.where(RATE > 4, torch.inf, RATE), ax=ax)
    with pytest.raises(ValueError, match="rate: all of its 4 values are NaN"):
        plot_information_map(RATE * torch.nan, ax=ax)
    for vmax in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"vmax: {vmax}"):
            plot_information_map(RATE, vmax=vmax, ax=ax)


@pytest.mark.parametrize("image", [None, IMAGE])
def test_positions_without_a_value_are_grey_and_the_sum_says_so(ax, image):
    plot_information_map(torch.where(RATE == 1, torch.nan, RATE), image, ax=ax)
    drawn = ax.images[-1]
    assert drawn.get_clim() == (0, 5)
    assert ax.get_title() == "rate: 7 nats, without 1 of 4 positions (grey)"
    red, green, blue, _ = drawn.cmap(drawn.norm(drawn.get_array()))[0, 1]
    assert red == green == blue


@pytest.mark.parametrize(
    ("rate", "options", "ends", "extend"),
    [
        (RATE - 2, {}, (-2, 3), "neither"),
        (RATE - 9, {}, (-9, 0), "neither"),
        (RATE - 2, {"vmax": 3.0}, (0, 3), "min"),
        (RATE, {"vmax": 3.0}, (0, 3), "max"),
        (RATE, {"norm": PowerNorm(0.5, vmin=1, vmax=3)}, (1, 3), "both"),
        (0 * RATE, {}, (0, 1), "neither"),
        (0 * RATE, {"vmax": 0.0}, (0, 1), "neither"),
    ],
)
def test_colours_reach_all_rates_or_the_bar_has_an_arrow(ax, rate, options, ends, extend):
    plot_information_map(rate, **options, ax=ax)
    assert ax.images[0].get_clim() == ends
    assert ax.images[0].colorbar.extend == extend


def test_the_sum_of_half_precision_is_no_sum_in_half_precision(ax):
    plot_information_map(torch.full((8, 8), 1e4, dtype=torch.half), ax=ax)
    assert ax.get_title() == "rate: 6.4e+05 nats"


def test_a_map_of_one_row_counts_whole_rows(ax):
    plot_information_map(RATE[:1], ax=ax)
    assert [tick for tick in ax.get_yticks() if -0.5 <= tick <= 0.5] == [0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda image: 255 * image, r"image: values go from 0 to 255, not within \[0, 1\]"),
        (lambda image: (255 * image).to(torch.uint8), "image: values go from 0 to 255"),
        (lambda image: 4 * image - 2, "image: values go from -2 to 2"),
        (lambda image: image.where(image < 0.5, torch.nan), "image: 72 of 144 values are NaN"),
    ],
    ids=["of 255", "bytes", "whitened", "NaN"],
)
@pytest.mark.parametrize("style", ["over", "beside"])
def test_an_image_whose_shades_would_be_cut_off_is_refused(ax, change, said, style):
    with pytest.raises(ValueError, match=said):
        plot_information_map(RATE, change(IMAGE), style=style, ax=ax)


def test_an_image_of_two_shades_is_taken(ax):
    plot_information_map(RATE, IMAGE[:1] > 0.2, ax=ax)
    assert set(np.unique(ax.images[0].get_array())) == {0, 1}
