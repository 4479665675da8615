"""Disentanglement, completeness and informativeness (DCI) of a code against known discrete factors."""

from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy
from torch import Tensor

from ib_pyro.diagnostics._factors import as_arrays, halves

__all__ = ["DCI", "dci"]


@dataclass(frozen=True)
class DCI:
    """The three scores, all in [0, 1], and what they are made of.

    Attributes:
        disentanglement: Does each dimension serve one factor only?
        completeness: Is each factor served by one dimension only?
        informativeness: Held-out accuracy of the forests, mean over factors (the paper gives its
            complement, the error).
        per_code: Disentanglement of each dimension, [D].
        per_factor: Completeness of each factor, [K].
        accuracy: Held-out accuracy of each factor's forest, [K].
        importance: Relative importance of dimension d for factor k, [D, K]; each column sums to 1.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    per_code: Tensor
    per_factor: Tensor
    accuracy: Tensor
    importance: Tensor


def dci(
    code: Tensor, factors: Tensor, *, num_trees: int = 50, max_depth: int | None = None, seed: int = 0
) -> DCI:
    r"""How one-to-one the map between dimensions of a code and known factors is.

    With R the importance of each dimension in a random forest that predicts each factor, and P its rows
    and Q its columns as distributions:

    .. math::
        D_d &= 1 - H_K(P_{d \cdot}), \quad D = \sum_d w_d D_d, \quad w_d = \sum_k R_{dk} / \sum_{dk} R_{dk} \\
        C_k &= 1 - H_D(Q_{\cdot k}), \quad C = \frac1K \sum_k C_k

    with the entropies to base K and D. Eastwood & Williams (2018), "A Framework for the Quantitative
    Evaluation of Disentangled Representations", section 2. The forest splits on the best of *all*
    dimensions: with the usual random subset, dimensions that know nothing get importance where the one that
    knows was not offered. Work is done by scikit-learn on the CPU.

    Args:
        code: Posterior means (or samples), [N, D], D >= 2, any scale.
        factors: Discrete factors, integer [N, K], K >= 2.
        num_trees: Trees a forest.
        max_depth: Depth of a tree; None grows them out.
        seed: Of the split into a half to fit on and a half to test on, and of the forests.

    Returns:
        The scores and their parts, on the code's device.

    Raises:
        ValueError: If a shape or a type is wrong, or a factor is constant.

    Example:
        >>> import torch
        >>> v = torch.cartesian_prod(torch.arange(2), torch.arange(2)).repeat(50, 1)
        >>> round(dci(v.double(), v, num_trees=5).disentanglement, 2)
        1.0
    """
    # Importing scikit-learn's parts draws from Python's random generator; `import ib_pyro` must not.
    from sklearn.ensemble import RandomForestClassifier

    z, v = as_arrays(code, factors, least_factors=2)
    fit, test = halves(len(z), seed)
    importance, accuracy = [], []
    for factor in v.T:
        forest = RandomForestClassifier(num_trees, max_depth=max_depth, max_features=None, random_state=seed)
        forest.fit(z[fit], factor[fit])
        importance.append(forest.feature_importances_)
        accuracy.append(forest.score(z[test], factor[test]))
    relevance = np.stack(importance, axis=1)
    per_code, per_factor = _concentration(relevance), _concentration(relevance.T)
    weight = relevance.sum(1) / max(relevance.sum(), np.finfo(float).tiny)
    return DCI(
        disentanglement=float(weight @ per_code),
        completeness=float(per_factor.mean()),
        informativeness=float(np.mean(accuracy)),
        per_code=code.new_tensor(per_code),
        per_factor=code.new_tensor(per_factor),
        accuracy=code.new_tensor(accuracy),
        importance=code.new_tensor(relevance),
    )


def _concentration(relevance: np.ndarray) -> np.ndarray:
    """One minus the entropy of each row as a distribution, to the base of its length; zeros give 0."""
    total = relevance.sum(1, keepdims=True)
    p = np.divide(relevance, total, out=np.full_like(relevance, 1 / relevance.shape[1]), where=total > 0)
    return 1 + xlogy(p, p).sum(1) / np.log(relevance.shape[1])
