"""Separated attribute predictability (SAP) of a code against known discrete factors."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ib_pyro.diagnostics._factors import as_arrays, halves, top_two_gap

__all__ = ["SeparatedPredictability", "separated_predictability"]


@dataclass(frozen=True)
class SeparatedPredictability:
    """SAP and what it is made of.

    Attributes:
        score: Mean gap over factors, in [0, 1).
        per_factor: Gap of each factor, [K].
        accuracy: Held-out balanced accuracy of dimension d alone for factor k, [D, K]; chance is 1 / values.
    """

    score: float
    per_factor: Tensor
    accuracy: Tensor


def separated_predictability(code: Tensor, factors: Tensor, *, seed: int = 0) -> SeparatedPredictability:
    r"""How much better the best single dimension predicts each factor than the second best does.

    .. math:: \mathrm{SAP} = \frac1K \sum_k \big(S_{(1) k} - S_{(2) k}\big)

    with S[d, k] the balanced accuracy of thresholds on z_d for v_k, and (1), (2) the two best dimensions.

    Kumar, Sattigeri & Balakrishnan (2018), "Variational Inference of Disentangled Latent Concepts", section
    3. As they do for discrete factors, one or more thresholds on z_d are fitted: here by a balanced
    decision tree with as many leaves as the factor has values. (A linear SVM, which later libraries use
    instead, loses the inner values of a factor with five or more on a line, and scores a perfect code low.)
    Since a dimension that knows nothing still has chance accuracy, a perfect code scores 1 - 1/values, not
    1. Work is done by scikit-learn on the CPU.

    Args:
        code: Posterior means (or samples), [N, D], D >= 2, any scale.
        factors: Discrete factors, integer [N, K] or [N].
        seed: Of the split into a half to fit on and a half to test on, and of the trees' ties.

    Returns:
        The score and its parts, on the code's device.

    Raises:
        ValueError: If a shape or a type is wrong, or a factor is constant.

    Example:
        >>> import torch
        >>> v = torch.cartesian_prod(torch.arange(2), torch.arange(2)).repeat(500, 1)
        >>> round(separated_predictability(v.double(), v).score, 1)
        0.5
    """
    z, v = as_arrays(code, factors)
    fit, test = halves(len(z), seed)
    accuracy = np.array([[_accuracy(d, k, fit, test, seed) for k in v.T] for d in z.T])
    gap = top_two_gap(accuracy)
    return SeparatedPredictability(
        score=float(gap.mean()), per_factor=code.new_tensor(gap), accuracy=code.new_tensor(accuracy)
    )


def _accuracy(z: np.ndarray, v: np.ndarray, fit: np.ndarray, test: np.ndarray, seed: int) -> float:
    # Importing scikit-learn's parts draws from Python's random generator; `import ib_pyro` must not.
    from sklearn.metrics import recall_score
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(
        max_leaf_nodes=int(v.max()) + 1, class_weight="balanced", random_state=seed
    ).fit(z[fit, None], v[fit])
    # Mean recall over the classes that the test half has is balanced accuracy, without scikit-learn's
    # warning on a class that is predicted but absent.
    present = np.unique(v[test])
    predicted = tree.predict(z[test, None])
    return float(recall_score(v[test], predicted, labels=present, average="macro"))
