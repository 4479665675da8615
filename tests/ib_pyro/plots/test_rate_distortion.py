"""The rate-distortion curve: means, intervals, labels."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import t as student_t

from ib_pyro.plots import plot_rate_distortion

RATE = torch.tensor([[4.0, 6.0, 8.0], [1.0, 2.0, 3.0]])
DISTORTION = torch.tensor([[0.1, 0.2, 0.3], [0.5, 0.5, 0.8]])


def half_widths(ax):
    """Half lengths of the bars, [points] along x and along y."""
    x_bars, y_bars = (np.array(bars.get_segments()) for bars in ax.containers[0][2])
    return np.ptp(x_bars[..., 0], axis=1) / 2, np.ptp(y_bars[..., 1], axis=1) / 2


def test_points_are_means_in_the_order_of_beta(ax):
    plot_rate_distortion(RATE, DISTORTION, beta=[0.1, 0.001], ax=ax)
    line = ax.containers[0][0]
    np.testing.assert_allclose(line.get_xdata(), [2.0, 6.0])
    np.testing.assert_allclose(line.get_ydata(), [0.6, 0.2], rtol=1e-6)
    plot_rate_distortion(RATE, DISTORTION, beta=[0.001, 0.1], ax=ax)
    np.testing.assert_allclose(ax.containers[1][0].get_xdata(), [6.0, 2.0])


def test_each_label_stands_at_its_point(ax):
    plot_rate_distortion(RATE, DISTORTION, beta=[0.1, 0.001], ax=ax)
    places = {text.get_text(): text.xy for text in ax.texts}
    assert places["0.1"] == pytest.approx((6.0, 0.2))
    assert places["0.001"] == pytest.approx((2.0, 0.6))


@pytest.mark.parametrize(("confidence", "factor"), [(None, 1.0), (0.95, student_t.ppf(0.975, 2))])
def test_bars_are_the_standard_error_or_the_interval(ax, confidence, factor):
    plot_rate_distortion(RATE, DISTORTION, confidence=confidence, ax=ax)
    x, y = half_widths(ax)
    np.testing.assert_allclose(x, factor * np.array([1.0, 2.0]) / np.sqrt(3), rtol=1e-6)
    np.testing.assert_allclose(y, factor * np.array([np.sqrt(0.03), 0.1]) / np.sqrt(3), rtol=1e-5)


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_legend_says_seeds_interval_and_unit_of_beta(ax):
    plot_rate_distortion(RATE, DISTORTION, label="information", ax=ax)
    plot_rate_distortion(RATE, DISTORTION, beta=[3, 1], beta_unit="paper", confidence=0.9, ax=ax)
    plot_rate_distortion(RATE[:, 0], DISTORTION[:, 0], beta=[3, 1], ax=ax)
    assert legend(ax) == [
        "information: mean of 3 seeds ± standard error",
        "mean of 3 seeds, 90 % interval; labels: β × N (paper)",
        "1 seed; labels: β per sample",
    ]


def test_one_seed_has_no_bars(ax):
    plot_rate_distortion(RATE[:, 0], DISTORTION[:, 0], ax=ax)
    assert np.concatenate(half_widths(ax)).max() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": [1.0]}, "beta: 1 values for 2 points"),
        ({"beta_unit": "nats"}, "beta_unit: 'nats'"),
        ({"confidence": 95}, "confidence: 95"),
    ],
)
def test_refusals(ax, options, message):
    with pytest.raises(ValueError, match=message):
        plot_rate_distortion(RATE, DISTORTION, ax=ax, **options)


def test_refuses_shapes_that_differ(ax):
    with pytest.raises(ValueError, match="differ"):
        plot_rate_distortion(RATE, DISTORTION[:1], ax=ax)


def table():
    rows = [
        {"beta": b, "seed": s, "rate": float(RATE[k, s]), "distortion": float(DISTORTION[k, s])}
        for k, b in enumerate((0.001, 0.1))
        for s in range(3)
    ]
    return pd.DataFrame(rows)


def test_a_table_of_runs_is_the_curve_of_its_betas(ax):
    plot_rate_distortion(RATE, DISTORTION, beta=[0.001, 0.1], confidence=0.9, ax=ax)
    plot_rate_distortion(table().sample(frac=1.0, random_state=1), confidence=0.9, ax=ax)
    first, second = (container[0] for container in ax.containers)
    np.testing.assert_allclose(first.get_xydata(), second.get_xydata())
    assert ax.containers[0].get_label() == ax.containers[1].get_label()
    assert [text.get_text() for text in ax.texts] == ["0.001", "0.1"] * 2


def test_runs_that_have_diverged_are_left_out(ax):
    frame = table().assign(diverged=[False, True, False, False, False, False])
    frame.loc[1, ["rate", "distortion"]] = float("nan")
    plot_rate_distortion(frame, ax=ax)
    np.testing.assert_allclose(ax.containers[0][0].get_xdata()[0], (4.0 + 8.0) / 2)
    assert "mean of 2 to 3 seeds" in ax.containers[0].get_label()
    with pytest.raises(ValueError, match="no run to draw: 6 rows, and all have diverged"):
        plot_rate_distortion(frame.assign(diverged=True), ax=ax)


def test_tables_and_arrays_are_not_mixed(ax):
    with pytest.raises(ValueError, match="distortion is missing"):
        plot_rate_distortion(RATE, ax=ax)
    with pytest.raises(ValueError, match="no column 'beta'; its columns are"):
        plot_rate_distortion(table().drop(columns="beta"), ax=ax)
    with pytest.raises(ValueError, match="beta: a table has its own"):
        plot_rate_distortion(table(), beta=[0.1, 0.2], ax=ax)
