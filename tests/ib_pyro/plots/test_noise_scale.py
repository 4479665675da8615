"""The heat map of alpha and its distribution by class."""

import numpy as np
import pytest
import torch

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
