"""The information plane: points, their colours, and the ceiling."""

import numpy as np

from ib_pyro.diagnostics import information_plane
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
