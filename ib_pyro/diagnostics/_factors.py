"""Codes and ground-truth factors, as the disentanglement metrics want them."""

import numpy as np
import torch
from torch import Tensor

__all__ = ["as_arrays", "halves", "top_two_gap"]


def as_arrays(code: Tensor, factors: Tensor, *, least_factors: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Check a code and its factors and hand them to NumPy, as scikit-learn wants them.

    Args:
        code: [N, D] with D >= 2.
        factors: Integer [N, K]; [N] is one factor.
        least_factors: Least K.

    Returns:
        The code, float64 [N, D], and the factors re-coded as 0, 1, ..., int64 [N, K].

    Raises:
        ValueError: If a shape, a type or a value is wrong, or a factor is constant.
    """
    if code.ndim != 2 or code.shape[0] == 0 or code.shape[1] < 2:
        raise ValueError(f"code: expected [N, D] with D >= 2, got {list(code.shape)}")
    if not code.is_floating_point():
        raise ValueError(f"code: expected a floating-point tensor, got {code.dtype}; use `code.double()`")
    if not bool(torch.isfinite(code).all()):
        raise ValueError("code: not finite; a metric on log z needs z > 0, use the posterior mean instead")
    columns = factors[:, None] if factors.ndim == 1 else factors
    if columns.ndim != 2 or columns.shape[0] != code.shape[0] or columns.shape[1] < least_factors:
        expected = f"[{code.shape[0]}, K] with K >= {least_factors}"
        raise ValueError(f"factors: expected {expected}, got {list(factors.shape)}")
    if columns.is_floating_point():
        raise ValueError(
            f"factors: expected integers (discrete factors), got {factors.dtype}; bin them first"
        )
    values = columns.detach().cpu().numpy()
    recoded = np.stack([np.unique(column, return_inverse=True)[1] for column in values.T], axis=1)
    constant = np.flatnonzero(recoded.max(0) == 0)
    if constant.size:
        raise ValueError(f"factors: factor {constant[0]} is constant, which no code can explain; drop it")
    return code.detach().cpu().double().numpy(), recoded.astype(np.int64)


def halves(num_samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split the samples at random into a half to fit on and a half to test on.

    Args:
        num_samples: N.
        seed: Seed of the split; no global generator is touched.

    Returns:
        Indices of the two halves.
    """
    order = np.random.default_rng(seed).permutation(num_samples)
    return order[: num_samples // 2], order[num_samples // 2 :]


def top_two_gap(scores: np.ndarray) -> np.ndarray:
    """Difference between the largest and the second largest value of each column.

    Args:
        scores: [D, K], D >= 2.

    Returns:
        [K].
    """
    top = np.sort(scores, axis=0)
    return top[-1] - top[-2]
