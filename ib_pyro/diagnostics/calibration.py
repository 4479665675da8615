"""Calibration of predicted class probabilities: reliability bins and the expected calibration error."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ib_pyro.diagnostics._checks import check_labels, check_probabilities, single

__all__ = ["ReliabilityBins", "expected_calibration_error", "reliability_bins"]


@dataclass(frozen=True)
class ReliabilityBins:
    """Confidence and accuracy by bin of confidence.

    Attributes:
        edges: Edges of the bins, [B + 1], from 0 to 1.
        count: Samples in each bin, int64 [B].
        confidence: Mean confidence in each bin, [B]; NaN in an empty one.
        accuracy: Share that is right in each bin, [B]; NaN in an empty one.
    """

    edges: Tensor
    count: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def expected_calibration_error(self) -> Tensor:
        """Gap between confidence and accuracy, averaged over samples, scalar in [0, 1]."""
        gap = (self.confidence - self.accuracy).abs().nan_to_num(0.0)
        return (gap * self.count).sum() / self.count.sum()

    @property
    def maximum_calibration_error(self) -> Tensor:
        """Largest gap of any bin that has samples, scalar in [0, 1]."""
        return (self.confidence - self.accuracy).abs().nan_to_num(0.0).max()


def reliability_bins(probabilities: Tensor, labels: Tensor, *, num_bins: int = 15) -> ReliabilityBins:
    """Bin predictions by their confidence and compare it with how often they are right.

    The confidence of a sample is the probability of its most probable class. Bins have equal width and are
    closed on the left, the last one on both sides. Guo et al. (2017), "On Calibration of Modern Neural
    Networks", section 2. For a noisy network pass the posterior predictive, that is the probabilities
    averaged over draws.

    Args:
        probabilities: Predicted class probabilities, [N, K].
        labels: True classes, integer [N].
        num_bins: Number of bins B.

    Returns:
        The bins, on the device of the probabilities.

    Raises:
        ValueError: If the probabilities are none, the labels do not fit, or ``num_bins`` < 1.

    Example:
        >>> p = torch.tensor([[0.9, 0.1], [0.9, 0.1]])
        >>> reliability_bins(p, torch.tensor([0, 1]), num_bins=2).accuracy
        tensor([   nan, 0.5000])
    """
    check_probabilities(probabilities, ("N", "K"))
    labels = check_labels(labels, *probabilities.shape)
    if num_bins < 1:
        raise ValueError(f"num_bins: {num_bins}, must be >= 1")
    confidence, predicted = single(probabilities.detach()).max(-1)
    edges = torch.linspace(0, 1, num_bins + 1, dtype=confidence.dtype, device=confidence.device)
    index = torch.bucketize(confidence, edges[1:-1], right=True)
    count = torch.bincount(index, minlength=num_bins)
    zeros = confidence.new_zeros(num_bins)
    return ReliabilityBins(
        edges=edges,
        count=count,
        confidence=zeros.index_add(0, index, confidence) / count,
        accuracy=zeros.index_add(0, index, (predicted == labels).to(confidence)) / count,
    )


def expected_calibration_error(probabilities: Tensor, labels: Tensor, *, num_bins: int = 15) -> Tensor:
    r"""Mean gap between confidence and accuracy.

    .. math:: \mathrm{ECE} = \sum_b \frac{N_b}{N} |\mathrm{acc}_b - \mathrm{conf}_b|

    Guo et al. (2017), eq. (3). It depends on the binning, is biased upwards on few samples, and is 0 for a
    network that always predicts the class frequencies: read it beside a proper score such as ``brier_score``.

    Args:
        probabilities: Predicted class probabilities, [N, K].
        labels: True classes, integer [N].
        num_bins: Number of bins.

    Returns:
        Scalar in [0, 1].

    Raises:
        ValueError: As ``reliability_bins``.

    Example:
        >>> p = torch.tensor([[0.9, 0.1], [0.9, 0.1]])
        >>> expected_calibration_error(p, torch.tensor([0, 1]))
        tensor(0.4000)
    """
    return reliability_bins(probabilities, labels, num_bins=num_bins).expected_calibration_error
