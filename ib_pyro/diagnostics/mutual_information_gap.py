"""Mutual information gap (MIG) of a code against known discrete factors."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from ib_pyro.diagnostics._factors import as_arrays, top_two_gap

__all__ = ["MutualInformationGap", "mutual_information_gap"]


@dataclass(frozen=True)
class MutualInformationGap:
    """MIG and what it is made of.

    Attributes:
        score: Mean gap over factors, in [0, 1]; 1: each factor sits in one dimension of its own.
        per_factor: Gap of each factor, [K], a share of its entropy.
        information: Plug-in I(z_d; v_k), [D, K], nats.
        entropy: H(v_k), [K], nats.
    """

    score: float
    per_factor: Tensor
    information: Tensor
    entropy: Tensor


def mutual_information_gap(
    code: Tensor, factors: Tensor, *, num_bins: int = 20, binning: Literal["width", "quantile"] = "width"
) -> MutualInformationGap:
    r"""How much better the best dimension of a code knows each factor than the second best does.

    .. math:: \mathrm{MIG} = \frac1K \sum_k \frac{I(z_{(1)}; v_k) - I(z_{(2)}; v_k)}{H(v_k)}

    where (1) and (2) are the two dimensions that know most about v_k. Chen et al. (2018), "Isolating
    Sources of Disentanglement in VAEs", section 4. The mutual information is that of the binned code (20
    bins of equal width, as in Locatello et al. 2019); this plug-in estimate is too high by about (bins -
    1)(values - 1) / (2 N) nats, which largely cancels in the gap but not in ``information``. Work is done by
    scikit-learn on the CPU.

    Args:
        code: Posterior means (or samples), [N, D], D >= 2, any scale.
        factors: Discrete factors, integer [N, K] or [N].
        num_bins: Bins a dimension.
        binning: ``width`` (as published), or ``quantile``, which keeps its resolution on heavy tails such as
            those of log-normal noise.

    Returns:
        The score and its parts, on the code's device.

    Raises:
        ValueError: If a shape, a type or an option is wrong, or a factor is constant.

    Example:
        >>> import torch
        >>> v = torch.cartesian_prod(torch.arange(2), torch.arange(2)).repeat(50, 1)
        >>> mutual_information_gap(v.double(), v).score
        1.0
    """
    # Importing scikit-learn's parts draws from Python's random generator; `import ib_pyro` must not.
    from sklearn.metrics import mutual_info_score

    if num_bins < 2 or binning not in ("width", "quantile"):
        raise ValueError(f"num_bins, binning: {num_bins}, {binning!r}; need >= 2 and 'width' or 'quantile'")
    z, v = as_arrays(code, factors)
    binned = np.stack([_bin(column, num_bins, binning) for column in z.T], axis=1)
    information = np.array([[mutual_info_score(k, d) for k in v.T] for d in binned.T])
    entropy = np.array([mutual_info_score(k, k) for k in v.T])
    gap = top_two_gap(information) / entropy
    return MutualInformationGap(
        score=float(gap.mean()),
        per_factor=code.new_tensor(gap),
        information=code.new_tensor(information),
        entropy=code.new_tensor(entropy),
    )


def _bin(values: np.ndarray, num_bins: int, binning: str) -> np.ndarray:
    """Bin number of each value."""
    if binning == "width":
        inner = np.linspace(values.min(), values.max(), num_bins + 1)[1:-1]
    else:
        # Ties (an atom at zero) make equal quantiles, which are one edge.
        inner = np.unique(np.quantile(values, np.linspace(0, 1, num_bins + 1)[1:-1]))
    return np.digitize(values, inner)
