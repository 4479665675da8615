"""Calibration: known cases, and torchmetrics as the second opinion."""

import pytest
import torch

from ib_pyro.diagnostics import expected_calibration_error, reliability_bins


@pytest.fixture
def predictions():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2000, 5, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    return logits, labels


@pytest.mark.parametrize("num_bins", [1, 7, 15])
def test_agrees_with_torchmetrics(predictions, num_bins):
    functional = pytest.importorskip("torchmetrics.functional.classification")
    logits, labels = predictions
    p = (3 * logits).softmax(-1).clamp(1e-6, 1 - 1e-6)
    p = p / p.sum(-1, keepdim=True)
    bins = reliability_bins(p, labels, num_bins=num_bins)
    for norm, ours in (("l1", bins.expected_calibration_error), ("max", bins.maximum_calibration_error)):
        theirs = functional.multiclass_calibration_error(p, labels, num_classes=5, n_bins=num_bins, norm=norm)
        torch.testing.assert_close(ours.float(), theirs.float(), rtol=1e-4, atol=1e-6)


def test_labels_drawn_from_the_predictions_are_calibrated(predictions):
    logits, labels = predictions
    calibrated = expected_calibration_error(logits.softmax(-1), labels)
    sure = expected_calibration_error((4 * logits).softmax(-1), labels)
    unsure = expected_calibration_error((logits / 4).softmax(-1), labels)
    assert calibrated < 0.03
    assert min(sure, unsure) > 0.15


def test_bins_by_hand():
    p = torch.tensor([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1], [0.9, 0.1], [1.0, 0.0]])
    bins = reliability_bins(p, torch.tensor([0, 0, 0, 1, 0]), num_bins=4)
    torch.testing.assert_close(bins.edges, torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert bins.count.tolist() == [0, 0, 2, 3]
    nan = torch.nan
    torch.testing.assert_close(bins.confidence, torch.tensor([nan, nan, 0.65, 2.8 / 3]), equal_nan=True)
    torch.testing.assert_close(bins.accuracy, torch.tensor([nan, nan, 0.5, 2 / 3]), equal_nan=True)
    ece = (2 * 0.15 + 3 * 0.8 / 3) / 5
    assert bins.expected_calibration_error.item() == pytest.approx(ece)
    assert bins.maximum_calibration_error.item() == pytest.approx(0.8 / 3)


def test_an_edge_belongs_to_the_bin_above_it():
    p = torch.tensor([[0.75, 0.25]])
    assert reliability_bins(p, torch.tensor([0]), num_bins=4).count.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("p", "labels", "message"),
    [
        ([[2.0, -1.0]], [0], "must be >= 0; pass"),
        ([[0.7, 0.7]], [0], "sums to 1 only within 0.4"),
        ([[float("nan"), 1.0]], [0], "probabilities"),
        ([0.5, 0.5], [0], r"expected a non-empty \[N, K\]"),
        ([[0.5, 0.5]], [2], r"values 2\.\.2, must be in 0\.\.1"),
        ([[0.5, 0.5]], [-1], "must be in"),
        ([[0.5, 0.5]], [0, 1], r"expected \[1\]"),
    ],
)
def test_refusals(p, labels, message):
    with pytest.raises(ValueError, match=message):
        reliability_bins(torch.tensor(p), torch.tensor(labels))


def test_refuses_no_bins_and_integers():
    with pytest.raises(ValueError, match="num_bins: 0"):
        expected_calibration_error(torch.tensor([[0.5, 0.5]]), torch.tensor([0]), num_bins=0)
    with pytest.raises(ValueError, match="floating-point"):
        expected_calibration_error(torch.tensor([[0, 1]]), torch.tensor([0]))
