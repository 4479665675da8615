"""What holds for every plot: Axes in, Axes out, labels with units."""

from functools import partial

import pytest
import torch
from matplotlib.axes import Axes

from ib_pyro.data import LabelledImages
from ib_pyro.diagnostics import information_plane, reliability_bins
from ib_pyro.plots import (
    plot_alpha_by_class,
    plot_information_map,
    plot_information_plane,
    plot_noise,
    plot_post_noise,
    plot_rate_distortion,
    plot_reliability,
    plot_samples,
)
from ib_pyro.plots._axes import as_array

ROWS = [{"epoch": 1, "rate": 2.0, "distortion": 1.0}]
IMAGES = LabelledImages(torch.rand(2, 1, 4, 4), torch.tensor([0, 1]), ("cat", "dog"))
BINS = reliability_bins(torch.tensor([[0.9, 0.1]]), torch.tensor([0]))
PLOTS = {
    "rate-distortion": (
        partial(plot_rate_distortion, [1.0, 2.0], [3.0, 2.0]),
        "nats per sample",
        "nats per sample",
    ),
    "information plane": (
        partial(plot_information_plane, information_plane(ROWS, label_entropy=2.3)),
        "nats per sample",
        "nats per sample",
    ),
    "information map": (
        partial(plot_information_map, torch.rand(2, 2), torch.rand(1, 4, 4)),
        "pixel",
        "pixel",
    ),
    "noise": (partial(plot_noise, torch.rand(3, 4)), "unit", "sample"),
    "alpha by class": (partial(plot_alpha_by_class, torch.rand(3, 4), [0, 1, 1]), "class", "std of log ε"),
    "post-noise": (
        partial(plot_post_noise, torch.rand(9) + 0.1, torch.zeros_like),
        "log z",
        "per unit of log z",
    ),
    "reliability": (partial(plot_reliability, BINS), "probability", "share right"),
    # Pictures alone, which have no axes to label.
    "samples": (partial(plot_samples, IMAGES, 2), "", ""),
}


@pytest.mark.parametrize("name", PLOTS)
def test_draws_into_the_axes_given_and_labels_them(name, ax):
    plot, x_unit, y_unit = PLOTS[name]
    assert plot(ax=ax) is ax
    assert x_unit in ax.get_xlabel()
    assert y_unit in ax.get_ylabel()
    ax.figure.canvas.draw()


@pytest.mark.parametrize("name", PLOTS)
def test_makes_axes_of_its_own(name):
    first, second = PLOTS[name][0](), PLOTS[name][0]()
    assert isinstance(first, Axes)
    assert first.figure is not second.figure


def test_tensors_with_gradients_become_arrays():
    array = as_array(torch.ones(2, requires_grad=True), "values", 1)
    assert array.tolist() == [1.0, 1.0]
    with pytest.raises(
        ValueError, match=r"values: expected a non-empty array of 1 or 2 dimensions, got \[0\]"
    ):
        as_array([], "values", 1, 2)
