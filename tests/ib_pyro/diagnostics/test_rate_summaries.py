"""Summaries of the rate: nothing is lost, and each value is where it belongs."""

import pytest
import torch

from ib_pyro.diagnostics import rate_by_class, rate_by_position, rate_by_unit


@pytest.fixture
def rate():
    torch.manual_seed(0)
    return torch.rand(6, 5, 4, 3, dtype=torch.float64)


def test_every_summary_adds_up_to_the_rate_of_the_site(rate):
    labels = torch.tensor([0, 0, 2, 1, 2, 2])
    site = rate.sum() / 6
    torch.testing.assert_close(rate_by_unit(rate).sum(), site)
    torch.testing.assert_close(rate_by_position(rate).sum((1, 2)).mean(), site)
    share = torch.bincount(labels) / 6
    torch.testing.assert_close((rate_by_class(rate, labels) * share).sum(), site)


def test_dense_and_convolutional_layouts(rate):
    assert rate_by_unit(rate).shape == (5,)
    assert rate_by_position(rate).shape == (6, 4, 3)
    torch.testing.assert_close(rate_by_unit(rate)[2], rate[:, 2].sum() / 6)
    torch.testing.assert_close(rate_by_position(rate)[1, 3, 2], rate[1, :, 3, 2].sum())
    torch.testing.assert_close(rate_by_unit(rate[..., 0, 0]), rate[..., 0, 0].mean(0))


def test_by_class_counts_samples_and_marks_the_empty_class():
    rate = torch.tensor([[1.0, 1.0], [3.0, 1.0], [5.0, 0.0]])
    by_class = rate_by_class(rate, torch.tensor([1, 1, 3]), num_classes=5)
    torch.testing.assert_close(
        by_class, torch.tensor([torch.nan, 3.0, torch.nan, 5.0, torch.nan]), equal_nan=True
    )


def test_an_infinite_rate_stays_infinite():
    rate = torch.tensor([[torch.inf, 1.0], [0.0, 1.0]])
    assert rate_by_unit(rate).tolist() == [torch.inf, 1.0]


@pytest.mark.parametrize("shape", [(3,), (0, 4), (3, 0)])
def test_refuses_what_has_no_units(shape):
    with pytest.raises(ValueError, match=r"rate: expected a non-empty \[N, units"):
        rate_by_unit(torch.zeros(shape))


def test_refuses_a_map_of_a_dense_layer():
    with pytest.raises(ValueError, match="positions"):
        rate_by_position(torch.zeros(3, 4))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], r"expected \[3\]"),
        ([0, 1, 4], r"values 0\.\.4, must be in 0\.\.2"),
        ([0.0, 1.0, 2.0], "long"),
    ],
)
def test_refuses_labels_that_do_not_fit(labels, message):
    with pytest.raises(ValueError, match=message):
        rate_by_class(torch.ones(3), torch.tensor(labels), num_classes=3)
