"""Proper scores of predicted class probabilities, one value per sample."""

import torch
from torch import Tensor

from ib_pyro.diagnostics._checks import check_labels, check_probabilities, single

__all__ = ["brier_score", "negative_log_likelihood"]


def brier_score(probabilities: Tensor, labels: Tensor) -> Tensor:
    r"""Squared distance between predicted probabilities and what happened.

    .. math:: \mathrm{BS}_n = \sum_k (p_{nk} - [y_n = k])^2

    Brier (1950), in its original form for K classes, from 0 (sure and right) to 2 (sure and wrong); for two
    classes it is twice the score of one probability.

    Args:
        probabilities: Predicted class probabilities, [N, K].
        labels: True classes, integer [N].

    Returns:
        [N], without unit.

    Raises:
        ValueError: If the probabilities are none or the labels do not fit.

    Example:
        >>> brier_score(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([1, 1]))
        tensor([2.0000, 0.5000])
    """
    check_probabilities(probabilities, ("N", "K"))
    labels, probabilities = check_labels(labels, *probabilities.shape), single(probabilities)
    observed = torch.zeros_like(probabilities).scatter(1, labels[:, None], 1.0)
    return (probabilities - observed).square().sum(-1)


def negative_log_likelihood(probabilities: Tensor, labels: Tensor) -> Tensor:
    r"""Log score of predicted probabilities.

    .. math:: \mathrm{NLL}_n = -\log p_n(y_n)

    Good (1952). With probabilities averaged over draws, p_n(k) = 1/S sum_s p(k | z_s), this is the log
    score of the posterior predictive, and by Jensen's inequality at most the distortion, which averages
    after the logarithm.

    Args:
        probabilities: Predicted class probabilities, [N, K].
        labels: True classes, integer [N].

    Returns:
        [N], nats per sample; +inf where the true class has probability 0.

    Raises:
        ValueError: If the probabilities are none or the labels do not fit.

    Example:
        >>> negative_log_likelihood(torch.tensor([[0.5, 0.5]]), torch.tensor([1]))
        tensor([0.6931])
    """
    check_probabilities(probabilities, ("N", "K"))
    labels, probabilities = check_labels(labels, *probabilities.shape), single(probabilities)
    return -probabilities.gather(1, labels[:, None])[:, 0].log()
