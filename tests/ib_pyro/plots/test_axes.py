"""What holds for every plot: Axes in, Axes out, labels with units."""

from functools import partial

import numpy as np
import pandas as pd
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
from ib_pyro.plots._axes import as_array, as_numbers, beyond

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


def test_numbers_of_any_type_become_float64():
    for given in (
        torch.tensor([1, 2]),
        torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
        np.array([1, 2], dtype=np.float16),
        ["1", "2"],
    ):
        numbers = as_numbers(given, "values", 1)
        assert numbers.dtype == np.float64
        assert numbers.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "given",
    [
        torch.tensor([1.0, torch.nan]),
        [1.0, None],
        np.ma.array([1, 99], mask=[False, True]),
        pd.Series([1, None], dtype="Int64"),
    ],
    ids=["NaN", "None", "masked", "NA"],
)
def test_what_is_missing_is_nan_where_it_may_be_and_is_refused_elsewhere(given):
    np.testing.assert_array_equal(as_numbers(given, "values", 1, missing=True), [1.0, np.nan])
    with pytest.raises(ValueError, match=r"values: 1 of 2 values are NaN, first \[1\]"):
        as_numbers(given, "values", 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([1.0, -np.inf], r"values: 1 of 2 values are infinite, first \[1\]; set them to NaN"),
        ([np.nan, np.nan], "values: all of its 2 values are NaN"),
        ([1j], "values: complex numbers"),
        (["one"], "values: not all of its values are numbers"),
    ],
)
def test_what_is_no_number_is_refused_by_the_name_of_its_argument(given, said):
    with pytest.raises(ValueError, match=said):
        as_numbers(given, "values", 1, missing=True)


def test_ends_of_colours_that_values_lie_beyond():
    values = np.array([-1.0, np.nan, 2.0])
    ends = [(None, None), (-1, 2), (0, 2), (-1, 1), (0, 1)]
    assert [beyond(values, *each) for each in ends] == ["neither", "neither", "min", "max", "both"]
