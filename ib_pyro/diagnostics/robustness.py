"""Robustness curves: error and loss of a predictor against the size of a perturbation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ib_pyro.buffers import buffers_kept, modules_behind
from ib_pyro.diagnostics._checks import check_labels, single
from ib_pyro.diagnostics.attacks import Attack, Predict, log_probabilities

__all__ = ["RobustnessCurve", "robustness_curve"]


@dataclass(frozen=True)
class RobustnessCurve:
    """How a predictor does as inputs are perturbed.

    Attributes:
        sizes: Sizes of the perturbation, [T], in units of x.
        error: Share of samples that are classified wrongly, [T], in [0, 1].
        standard_error: Of ``error``, over samples, sqrt(e (1 - e) / N), [T].
        loss: Mean -log of the averaged predictive probability of the true class, [T], nats per sample. At
            most about 87 in float32 where ``predict`` returns probabilities, which a floor keeps from 0.
    """

    sizes: Tensor
    error: Tensor
    standard_error: Tensor
    loss: Tensor


def robustness_curve(
    predict: Predict,
    x: Tensor,
    y: Tensor,
    attack: Attack,
    sizes: Sequence[float],
    *,
    batch_size: int | None = None,
) -> RobustnessCurve:
    r"""Attack a predictor at several sizes and evaluate it on the result.

    .. math:: e(s) = \frac1N \sum_n \big[\arg\max_k p(k | x'_n(s)) \ne y_n\big]

    with p averaged over the predictor's draws.

    The attack and the evaluation each draw the predictor's noise anew, as an attacker would meet it. A
    stochastic predictor needs enough draws in both, else it looks robust because the attack could not see
    its gradient (Athalye, Carlini & Wagner 2018): pass ``functools.partial(pgd, samples=16)``, or let
    ``predict`` return 16 draws, as ``lambda x: torch.stack([y.logits for y in program.predictive(x, 16)])``
    does for a ``Bottleneck`` of classes. An error that does not approach 1 - 1/K or more as the size grows
    is a sign of it.

    Args:
        predict: Class probabilities or log-probabilities of inputs, [N, K] or [S, N, K]; see ``fgsm``.
        x: Inputs, [N, ...].
        y: True classes, integer [N].
        attack: ``gaussian_noise``, ``fgsm``, ``pgd`` or another function of (predict, x, y, size).
        sizes: Sizes to try, in units of x; 0 gives the clean error.
        batch_size: Samples at a time; None: all at once.

    Returns:
        The curve, on the device of x.

    Raises:
        ValueError: If there are no sizes, the labels do not fit, or as the attack.

    Example:
        >>> from ib_pyro.diagnostics import fgsm
        >>> x, y = torch.tensor([[0.2], [0.8]]), torch.tensor([0, 1])
        >>> def predict(x):
        ...     return torch.cat([0.5 - x, x - 0.5], -1).log_softmax(-1)
        >>> robustness_curve(predict, x, y, fgsm, [0.0, 0.4]).error
        tensor([0., 1.])
    """
    if len(sizes) == 0:
        raise ValueError("sizes: empty; pass for example [0.0, 0.05, 0.1]")
    y = check_labels(y, len(x))
    step = len(x) if batch_size is None else batch_size
    if step < 1:
        raise ValueError(f"batch_size: {batch_size}, must be >= 1")
    error, loss = (single(x.new_zeros(len(sizes))) for _ in range(2))
    for i, size in enumerate(sizes):
        for start in range(0, len(x), step):
            part, truth = x[start : start + step], y[start : start + step]
            wrong, surprise = _evaluate(predict, attack(predict, part, truth, size), truth)
            error[i] += wrong / len(x)
            loss[i] += surprise / len(x)
    deviation = (error * (1 - error)).clamp_min(0).sqrt()
    return RobustnessCurve(error.new_tensor(list(sizes)), error, deviation / len(x) ** 0.5, loss)


def _evaluate(predict: Predict, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Number of wrong samples and sum of their losses."""
    with buffers_kept(modules_behind(predict)), torch.no_grad():
        log_p = log_probabilities(predict(x))
        check_labels(y, *log_p.shape[1:])
        averaged = log_p.logsumexp(0) - math.log(len(log_p))
    return (averaged.argmax(-1) != y).sum(), -averaged.gather(1, y[:, None]).sum()
