"""The heat map of alpha and its distribution by class."""

from functools import partial

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from ib_pyro.plots import plot_alpha_by_class, plot_noise

ALPHA = torch.arange(12.0).reshape(4, 3) / 20


def test_heat_map_shows_every_value(ax):
    plot_noise(ALPHA, alpha_max=0.7, ax=ax)
    np.testing.assert_array_equal(ax.images[0].get_array(), ALPHA)
    assert ax.images[0].get_clim() == (0, 0.7)
    assert "std of log ε" in ax.figure.axes[1].get_ylabel()


def test_heat_map_sorts_by_class_and_marks_the_borders(ax):
    plot_noise(ALPHA, labels=torch.tensor([5, 2, 5, 2]), ax=ax)
    np.testing.assert_array_equal(ax.images[0].get_array(), ALPHA[[1, 3, 0, 2]])
    assert [line.get_ydata()[0] for line in ax.lines] == [1.5]
    assert ax.get_yticks().tolist() == [0.5, 2.5]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["2", "5"]


def test_box_of_each_class_spans_its_quartiles(ax):
    torch.manual_seed(0)
    alpha, labels = torch.rand(400, 3, 2, 2, dtype=torch.float64), torch.arange(400) % 3 + 4
    plot_alpha_by_class(alpha, labels, ax=ax)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["4", "5", "6"]
    per_sample = alpha.mean((1, 2, 3))
    for c, box in zip((4, 5, 6), ax.patches, strict=True):
        values = per_sample[labels == c].numpy()
        box_y = box.get_path().vertices[:, 1]
        np.testing.assert_allclose([box_y.min(), box_y.max()], np.quantile(values, [0.25, 0.75]))
    ends = [line.get_ydata() for line in ax.lines]
    low, high = np.quantile(per_sample[labels == 4].numpy(), [0.05, 0.95])
    inside = per_sample[(labels == 4) & (per_sample >= low) & (per_sample <= high)]
    assert min(y.min() for y in ends[:2]) == pytest.approx(inside.min().item())
    assert max(y.max() for y in ends[:2]) == pytest.approx(inside.max().item())
    assert ax.get_title().startswith("400 samples; box: quartiles, whiskers: 5 % to 95 %")


def test_refusals(ax):
    with pytest.raises(ValueError, match="labels: 3 for 4 samples"):
        plot_noise(ALPHA, labels=[0, 1, 2], ax=ax)
    with pytest.raises(ValueError, match="labels: 1 for 4 samples"):
        plot_alpha_by_class(ALPHA, [0], ax=ax)
    with pytest.raises(ValueError, match="alpha: expected"):
        plot_noise(ALPHA[0], ax=ax)
    with pytest.raises(ValueError, match="labels: 1 of 4 values are NaN"):
        plot_alpha_by_class(ALPHA, [0.0, 1.0, float("nan"), 1.0], ax=ax)
    for alpha_max in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"alpha_max: {alpha_max}"):
            plot_noise(ALPHA, alpha_max=alpha_max, ax=ax)


@pytest.mark.parametrize("plot", [plot_noise, partial(plot_alpha_by_class, labels=[0, 1, 1, 0])])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.inf, r"alpha: 1 of 12 values are infinite, first \[2, 1\]"),
        (-0.5, "alpha: -0.5 is no standard deviation"),
    ],
)
def test_values_that_are_no_scale_are_refused(ax, plot, value, said):
    alpha = ALPHA.clone()
    alpha[2, 1] = value
    with pytest.raises(ValueError, match=said):
        plot(alpha, ax=ax)
    with pytest.raises(ValueError, match="all of its 12 values are NaN"):
        plot(alpha * torch.nan, ax=ax)


def test_missing_values_of_the_heat_map_are_grey_and_counted(ax):
    alpha = torch.where(ALPHA > 0.5, torch.nan, ALPHA)
    plot_noise(alpha, ax=ax)
    image = ax.images[0]
    assert image.get_clim() == (0, pytest.approx(0.5))
    assert ax.get_title() == "1 of 12 values missing (grey)"
    red, green, blue, _ = image.cmap(image.norm(image.get_array()))[3, 2]
    assert red == green == blue


def test_colours_have_a_scale_without_noise_and_an_arrow_where_it_ends_early(ax):
    plot_noise(torch.zeros(1, 3), ax=ax)
    assert ax.images[0].get_clim() == (0, 1)
    assert [tick for tick in ax.get_yticks() if -0.5 <= tick <= 0.5] == [0]
    figure = Figure()
    bars = []
    for alpha_max in (0.3, 0.6):
        plot_noise(ALPHA, alpha_max=alpha_max, ax=figure.add_subplot())
        bars.append(figure.axes[-2].images[0].colorbar.extend)
    assert bars == ["max", "neither"]


def test_missing_values_are_left_out_of_the_means_of_their_class(ax):
    alpha = torch.rand(40, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 4
    alpha[torch.arange(40) % 3 == 0, 2] = torch.nan
    alpha[labels == 3] = torch.nan
    plot_alpha_by_class(alpha, labels, ax=ax)
    means = alpha.nanmean(1)
    for c, box in zip((0, 1, 2), ax.patches, strict=False):
        box_y = box.get_path().vertices[:, 1]
        expected = np.quantile(means[labels == c].numpy(), [0.25, 0.75])
        np.testing.assert_allclose([box_y.min(), box_y.max()], expected)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2", "3\n(no value)"]
    first, second = ax.get_title().split("\n")
    assert first.startswith("30 samples; box")
    assert second == f"{int(alpha.isnan().sum())} of 200 values missing, and so 10 of 40 samples"
