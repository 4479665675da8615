"""The reliability diagram: bars, points and intervals of the bins that have samples."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from ib_pyro.diagnostics import reliability_bins
from ib_pyro.plots import plot_reliability


@pytest.fixture
def bins():
    confidence = torch.tensor([0.6] * 10 + [0.9] * 20)
    labels = torch.tensor([0] * 4 + [1] * 6 + [0] * 20)
    return reliability_bins(torch.stack([confidence, 1 - confidence], 1), labels, num_bins=4)


def test_bars_and_points_are_the_accuracies(ax, bins):
    plot_reliability(bins, ax=ax)
    assert [bar.get_x() for bar in ax.patches] == [0.5, 0.75]
    assert [bar.get_width() for bar in ax.patches] == [0.25, 0.25]
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], [0.4, 1.0], rtol=1e-6)
    points = ax.containers[-1][0]
    np.testing.assert_allclose(points.get_xdata(), [0.6, 0.9], rtol=1e-6)
    np.testing.assert_allclose(points.get_ydata(), [0.4, 1.0], rtol=1e-6)


def test_intervals_are_wilsons(ax, bins):
    plot_reliability(bins, ax=ax)
    segments = np.array(ax.containers[-1][2][0].get_segments())[..., 1]
    for (low, high), (right, count) in zip(segments, [(4, 10), (20, 20)], strict=True):
        interval = binomtest(right, count).proportion_ci(method="wilson")
        np.testing.assert_allclose([low, high], [interval.low, interval.high], rtol=1e-5)


def test_states_the_error_the_samples_and_the_diagonal(ax, bins):
    plot_reliability(bins, ax=ax)
    # (10 * 0.2 + 20 * 0.1) / 30
    assert ax.get_title() == "ECE 0.133; 30 samples, 4 bins"
    diagonal = ax.lines[0]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"count": torch.zeros(4, dtype=torch.int64)}, "count: no sample in any of 4 bins"),
        ({"accuracy": torch.full((4,), torch.nan)}, "accuracy: 2 of 2 values are NaN"),
        ({"confidence": torch.full((4,), torch.inf)}, "confidence: 2 of 2 values are infinite"),
    ],
)
def test_bins_without_what_is_drawn_are_refused(ax, bins, change, said):
    with pytest.raises(ValueError, match=said):
        plot_reliability(replace(bins, **change), ax=ax)
