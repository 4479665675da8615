"""Drawings survive one seed and several, and say which it was."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from inference.studies.paper import fig4, fig5, fig6, table1
from inference.studies.paper.drawing import dodged, draw_errors, draw_means, intervals_in_words
from inference.studies.paper.methods import METHODS
from inference.studies.paper.statistics import interval

COMMON = {"preset": "small", "source": "real", "num_train": 50, "num_test": 20, "epochs": 2}


def rows_of(num_seeds: int, **columns: dict) -> list[dict]:
    """A row a seed and a value of the columns; numbers differ between seeds."""
    names, values = list(columns), list(columns.values())
    return [
        {**COMMON, "seed": seed, **dict(zip(names, point, strict=True))}
        for seed in range(num_seeds)
        for point in zip(*values, strict=True)
    ]


def correlations(num_seeds: int, corrected: list[float]) -> list[dict]:
    rows = rows_of(num_seeds, setting=[0.1, 1.0], tc_corrected=corrected)
    for row in rows:
        row["tc_corrected"] += row["seed"]
        row |= {
            "size": 0.25,
            "tc_null": 20.0,
            "tc_estimate": 20 + row["tc_corrected"],
            "tc_dimensions": 7,
            "test_error_noisy": 0.5 + 0.01 * row["seed"],
            "test_error_deterministic": 0.4 + 0.01 * row["seed"],
        }
    return rows


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def bars(ax) -> list[ErrorbarContainer]:
    return [part for part in ax.containers if isinstance(part, ErrorbarContainer) and part.has_yerr]


def test_dodging_moves_by_a_share_of_the_axis():
    for positions, length in (([0.1, 2.0, 8.0], 80.0), ([5.0], 10.0)):
        moved = np.log(dodged(positions, 0.1)) - np.log(positions)
        np.testing.assert_allclose(moved, 0.1 * np.log(length), atol=1e-12)


def test_errors_of_one_size_stand_side_by_side():
    rows = [
        {**row, "dropout": name}
        for name in METHODS
        for row in rows_of(2, size=[0.25], test_error_deterministic=[0.5], test_error_noisy=[0.5])
    ]
    figure = draw_errors(pd.DataFrame(rows), xlabel="share", size_name=str, caption="errors")
    for ax in figure.axes:
        places = [container[0].get_xdata()[0] for container in ax.containers]
        assert len(set(places)) == len(METHODS)


def test_bars_are_students_intervals_of_the_mean():
    ax = Figure().subplots()
    groups = [[1.0, 2.0, 4.0], [3.0, 3.5, 3.0]]
    draw_means(ax, [1, 2], groups, label="x")
    (segments,) = bars(ax)[0].lines[2]
    for group, segment in zip(groups, segments.get_segments(), strict=True):
        mean, half = interval(group)
        np.testing.assert_allclose(segment[:, 1], [mean - half, mean + half])


def test_no_bars_and_no_word_of_them_with_one_seed():
    ax = Figure().subplots()
    draw_means(ax, [1, 2], [[1.0], [2.0]], label="x")
    assert not bars(ax)
    assert intervals_in_words(pd.DataFrame(rows_of(1, size=[1]))) == ""
    assert "95 %" in intervals_in_words(pd.DataFrame(rows_of(2, size=[1])))


@pytest.mark.parametrize("num_seeds", [1, 3])
@pytest.mark.parametrize("last", [30.0, 0.0, -15.0])
def test_a_correlation_of_any_sign_is_on_the_axis(num_seeds, last):
    figure = fig5.draw(pd.DataFrame(correlations(num_seeds, [500.0, last])))
    figure.canvas.draw()
    right = figure.axes[1]
    assert right.get_yscale() == ("log" if last > 0 else "symlog")
    low, high = right.get_ylim()
    assert low < last < 500 < high
    assert ("linear within" in right.get_ylabel()) == (last <= 0)


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_captions_speak_of_bars_where_there_are_some(num_seeds):
    rows = rows_of(num_seeds, setting=[0.1, 8.0], size=[0.25, 0.25])
    for row in rows:
        row |= {
            f"{task}_{kind}": 0.5 + 0.01 * row["seed"]
            for task in ("test_error", "nuisance_error")
            for kind in ("noisy", "deterministic")
        }
    sites = rows_of(
        num_seeds,
        size=[0.1, 0.2, 0.1, 0.2],
        site=["z1", "z1", "z2", "z2"],
        setting=[0.5] * 4,
        site_rate=[5.0, 6.0, 2.0, 3.0],
        rate_per_unit=[0.5, 0.3, 0.2, 0.1],
    )
    for row in sites:
        row["site_rate"] += row["seed"]
        row["rate_per_unit"] += 0.01 * row["seed"]
    for figure, lines in ((fig4.draw(pd.DataFrame(rows)), 4), (fig6.draw(pd.DataFrame(sites)), 4)):
        assert ("bars" in figure.get_suptitle()) == (num_seeds > 1)
        assert sum(len(bars(ax)) for ax in figure.axes) == (lines if num_seeds > 1 else 0)


def test_methods_stand_side_by_side():
    sizes = [16, 32]
    rows = [
        {**row, "dropout": dropout, "test_error_noisy": 0.2, "test_error_deterministic": 0.1}
        for dropout in METHODS
        for row in rows_of(2, size=sizes)
    ]
    figure = draw_errors(pd.DataFrame(rows), xlabel="width", size_name=str, caption="a network")
    left = figure.axes[0]
    places = np.array([part.lines[0].get_xdata() for part in left.containers], dtype=float)
    assert len(np.unique(places)) == len(METHODS) * len(sizes)
    np.testing.assert_allclose(np.exp(np.log(places).mean(0)), sizes)
    assert [text.get_text() for text in left.get_xticklabels()] == ["16", "32"]
    assert figure.get_suptitle().startswith("a network; preset small")


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_the_table_has_means_and_the_papers_bounds_beside_them(num_seeds):
    rows = [
        {**row, "latent": latent, "bound": bound - row["size"] - row["seed"]}
        for latent, bound in (("gaussian", -105.0), ("information", -110.0))
        for row in rows_of(num_seeds, size=[1, 2])
    ]
    left, right = table1.draw(pd.DataFrame(rows)).axes
    cells = {place: cell.get_text().get_text() for place, cell in left.tables[0].get_celld().items()}
    assert [cells[2, 0], cells[2, 1], cells[4, 0]] == ["-98.8", "-99.0", "-100.0"]
    mean, half = interval([-112.0 - seed for seed in range(num_seeds)])
    assert cells[3, 1] == (f"{mean:.2f}" if num_seeds == 1 else f"{mean:.2f} ± {half:.2f}")
    low, high = right.get_ylim()
    # Zoomed in: the axis leaves out zero, and holds the points and the paper's.
    assert low < mean < -98.8 < high < 0
    assert len(bars(right)) == (0 if num_seeds == 1 else 2)
    assert "higher is better" in right.get_ylabel()


def test_a_method_without_rows_is_an_error_and_no_missing_line():
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match="lacks the rows"):
        draw_means(ax, [1, 2], [[1.0], []])
