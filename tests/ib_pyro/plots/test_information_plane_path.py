"""The information plane: points, their colours, and the ceiling."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ib_pyro.diagnostics import InformationPlane, information_plane
from ib_pyro.plots import plot_information_plane

ROWS = [{"epoch": e, "rate": 10.0 - e, "distortion": 2.0 / e} for e in (1, 2, 4)]


def test_draws_the_bounds_coloured_by_epoch(ax):
    plot_information_plane(information_plane(ROWS, label_entropy=2.3), ax=ax)
    points = ax.collections[0]
    np.testing.assert_allclose(points.get_offsets(), [[9.0, 0.3], [8.0, 1.3], [6.0, 1.8]])
    np.testing.assert_allclose(points.get_array(), [1, 2, 4])
    ceiling = ax.lines[0]
    assert list(ceiling.get_ydata()) == [2.3, 2.3]
    assert ceiling.get_label() == "H(y)"
    assert "≥ I(x; z)" in ax.get_xlabel()
    assert "≤ I(z; y)" in ax.get_ylabel()


def test_colour_bar_says_what_a_step_is_and_can_be_left_out(ax):
    plane = information_plane(ROWS, label_entropy=2.3)
    plot_information_plane(plane, colorbar=False, ax=ax)
    assert len(ax.figure.axes) == 1
    plot_information_plane(plane, step_label="step", ax=ax)
    assert ax.figure.axes[1].get_ylabel() == "step"


def test_the_path_goes_through_the_steps_that_have_both_bounds_and_counts_the_others(ax):
    rows = [dict(row) for row in ROWS]
    rows[1]["rate"] = float("nan")
    plot_information_plane(information_plane(rows, label_entropy=2.3), ax=ax)
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [[9.0, 0.3], [6.0, 1.8]])
    np.testing.assert_allclose(ax.collections[0].get_array(), [1, 4])
    assert ax.get_title() == "1 of 3 steps without a value"


def test_a_single_step_is_the_only_one_that_the_colour_bar_counts(ax):
    plot_information_plane(information_plane(ROWS[:1], label_entropy=2.3), ax=ax)
    assert ax.figure.axes[1].get_yticks().tolist() == [1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"i_xz": torch.tensor([1.0, torch.inf])}, "i_xz: 1 of 2 values are infinite"),
        ({"i_xz": torch.full((2,), torch.nan)}, "i_xz: all of its 2 values are NaN"),
        (
            {"i_xz": torch.tensor([1.0, torch.nan]), "i_zy": torch.tensor([torch.nan, 1.0])},
            "i_xz, i_zy: none of 2 steps has both",
        ),
        ({"i_zy": torch.zeros(3)}, "step, i_xz, i_zy: 2, 2 and 3 values"),
        ({"step": torch.tensor([1.0, torch.nan])}, "step: 1 of 2 values are NaN"),
        ({"step": torch.tensor([])}, "step: expected a non-empty array"),
        ({"label_entropy": math.inf}, "label_entropy: 1 of 1 values are infinite"),
    ],
)
def test_refusals(ax, change, said):
    plane = InformationPlane(torch.arange(2.0), torch.ones(2), torch.ones(2), 2.3)
    with pytest.raises(ValueError, match=said):
        plot_information_plane(replace(plane, **change), ax=ax)
