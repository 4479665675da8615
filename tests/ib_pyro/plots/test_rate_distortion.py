"""The rate-distortion curve: means, intervals, labels."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import t as student_t

from ib_pyro import choose_beta
from ib_pyro.plots import plot_rate_distortion
from ib_pyro.side_by_side import curve

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
    with pytest.raises(ValueError, match="no run to draw: 6 are given, and all have diverged"):
        plot_rate_distortion(frame.assign(diverged=True), ax=ax)


def test_tables_and_arrays_are_not_mixed(ax):
    with pytest.raises(ValueError, match="distortion is missing"):
        plot_rate_distortion(RATE, ax=ax)
    with pytest.raises(ValueError, match="no column 'beta'; its columns are"):
        plot_rate_distortion(table().drop(columns="beta"), ax=ax)
    with pytest.raises(ValueError, match="beta: a table has its own"):
        plot_rate_distortion(table(), beta=[0.1, 0.2], ax=ax)


def three_betas():
    """A curve with a knee, of three seeds."""
    third = table()[:3].assign(beta=1.0, rate=[0.1, 0.2, 0.3], distortion=[3.0, 3.1, 3.2])
    frame = pd.concat([table(), third], ignore_index=True)
    frame.attrs["held_out"] = True
    return frame


def same_curve(first, second):
    np.testing.assert_allclose(first[0].get_xydata(), second[0].get_xydata())
    for one, other in zip(first[2], second[2], strict=True):
        np.testing.assert_allclose(one.get_segments(), other.get_segments(), rtol=1e-6)


@pytest.mark.parametrize("confidence", [None, 0.9])
def test_a_table_of_means_is_drawn_with_its_own_intervals(ax, confidence):
    plot_rate_distortion(table(), confidence=0.9, ax=ax)
    plot_rate_distortion(curve(table(), confidence=0.9), confidence=confidence, ax=ax)
    same_curve(*ax.containers)
    assert legend(ax) == ["mean of 3 seeds, 90 % interval; labels: β per sample"] * 2


@pytest.mark.parametrize("confidence", [None, 0.9])
def test_the_table_of_a_choice_is_drawn_with_its_standard_errors(ax, confidence):
    frame = three_betas()
    plot_rate_distortion(frame, confidence=confidence, ax=ax)
    plot_rate_distortion(choose_beta(frame, knee=True).table, confidence=confidence, ax=ax)
    same_curve(*ax.containers)
    assert legend(ax)[0] == legend(ax)[1]


def test_a_beta_that_a_choice_has_no_use_for_is_named(ax):
    choice = choose_beta(three_betas(), knee=True).table
    choice.loc[2, "usable"] = False
    plot_rate_distortion(choice, ax=ax)
    assert ax.containers[0][0].get_xdata().tolist() == [6.0, 2.0]
    assert legend(ax)[0].endswith("\nno point at β = 1")


@pytest.mark.parametrize("tabulated", [lambda frame: frame, curve], ids=["runs", "means"])
def test_the_legend_counts_what_diverged_and_names_the_betas_without_a_run(ax, tabulated):
    frame = three_betas().assign(diverged=[True, *[False] * 5, *[True] * 3])
    frame.loc[frame["diverged"], ["rate", "distortion"]] = np.nan
    plot_rate_distortion(tabulated(frame), ax=ax)
    np.testing.assert_allclose(ax.containers[0][0].get_xdata(), [7.0, 2.0])
    first, *left_out = legend(ax)[0].split("\n")
    assert first.startswith("mean of 2 to 3 seeds")
    assert left_out == ["runs left out: 4 diverged", "no point at β = 1"]


@pytest.mark.parametrize("value", [np.nan, np.inf, None])
def test_runs_that_are_not_finite_are_left_out_and_counted(ax, value):
    frame = table().astype({"rate": object})
    frame.loc[0, "rate"] = value
    plot_rate_distortion(frame, ax=ax)
    rate = RATE.clone()
    rate[0, 0] = torch.nan if value is None else value
    plot_rate_distortion(rate, DISTORTION, beta=[0.001, 0.1], ax=ax)
    same_curve(*ax.containers)
    np.testing.assert_allclose(ax.containers[0][0].get_xydata(), [[7.0, 0.25], [2.0, 0.6]], rtol=1e-6)
    said = "mean of 2 to 3 seeds ± standard error; labels: β per sample\nruns left out: 1 not finite"
    assert legend(ax) == [said] * 2


def test_arrays_without_betas_name_the_row_that_has_no_point(ax):
    plot_rate_distortion([[1.0, 2.0], [np.nan, np.nan]], [[1.0, 2.0], [1.0, 2.0]], ax=ax)
    assert legend(ax)[0].endswith("runs left out: 2 not finite\nno point of row 1")


def test_intervals_of_a_file_have_no_level_and_those_of_one_seed_no_length(ax, tmp_path):
    path = tmp_path / "curve.csv"
    curve(table()).to_csv(path, index=False)
    plot_rate_distortion(pd.read_csv(path), ax=ax)
    assert "mean of 3 seeds, the table's intervals" in legend(ax)[0]
    with pytest.raises(ValueError, match="confidence: 0.95, but .* of a level that is not said"):
        plot_rate_distortion(pd.read_csv(path), confidence=0.95, ax=ax)
    ax.clear()
    plot_rate_distortion(curve(table()[::3]), ax=ax)
    assert np.concatenate(half_widths(ax)).max() == 0
    assert legend(ax) == ["1 seed; labels: β per sample"]
    ax.clear()
    plot_rate_distortion(curve(table())[["beta", "seeds", "rate", "distortion"]], ax=ax)
    assert np.concatenate(half_widths(ax)).max() == 0
    assert legend(ax) == ["mean of 3 seeds; labels: β per sample"]


def test_runs_without_a_seed_are_not_called_seeds(ax):
    plot_rate_distortion(table().drop(columns="seed"), ax=ax)
    assert legend(ax) == ["mean of 3 runs ± standard error; labels: β per sample"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            lambda f: pd.concat([f.assign(hidden=32), f.assign(hidden=64)]),
            "beta=0.001: there are several runs",
        ),
        (lambda f: pd.concat([curve(f), curve(f)]), "beta=0.001 stands in 2 rows of means"),
        (
            lambda f: curve(f.assign(lr=f["beta"]), by="lr"),
            "averaged over betas, by another column",
        ),
        (lambda f: f.assign(diverged="False"), "diverged: 'False' is neither true nor false"),
        (lambda f: f.assign(diverged=2), "diverged: 2 is neither true nor false"),
        (lambda f: f.assign(beta=[np.nan, *f["beta"][1:]]), "beta: 1 of 6 values are NaN"),
        (lambda f: f.assign(beta=[{"z1": 1.0}] * 6), "beta: not all of its values are numbers"),
        (lambda f: f.assign(rate="much"), "rate: not all of its values are numbers"),
        (lambda f: f.assign(rate=np.nan), "all have diverged or have no finite rate and distortion"),
        (lambda f: curve(f.assign(diverged=True)), "none of 2 rows has finite means"),
        (lambda f: f[:0], "no run to draw: the table has no rows"),
        (
            lambda f: choose_beta(f.assign(validation_rate=f["rate"]), target_rate=9.0).table,
            "no column 'distortion'.*draw the sweep",
        ),
    ],
)
def test_tables_that_are_no_curve_are_refused(ax, given, said):
    with pytest.raises(ValueError, match=said):
        plot_rate_distortion(given(table().assign(diverged=False)), ax=ax)


def test_intervals_of_another_level_are_not_called_by_the_one_asked_for(ax):
    with pytest.raises(ValueError, match="confidence: 0.95, but .* intervals of level 0.9"):
        plot_rate_distortion(curve(table(), confidence=0.9), confidence=0.95, ax=ax)
    bare = curve(table())[["beta", "seeds", "rate", "distortion"]]
    with pytest.raises(ValueError, match="confidence: 0.95, but .* no intervals"):
        plot_rate_distortion(bare, confidence=0.95, ax=ax)
