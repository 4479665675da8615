"""Telling inputs of another distribution apart by a score such as the rate or the predictive entropy."""

import torch
from torch import Tensor

__all__ = ["out_of_distribution_auroc"]


def out_of_distribution_auroc(scores_in: Tensor, scores_out: Tensor) -> float:
    r"""Area under the ROC curve of a detector that calls large scores out-of-distribution.

    .. math:: \mathrm{AUROC} = P(s_\text{out} > s_\text{in}) + \tfrac12 P(s_\text{out} = s_\text{in})

    Hendrycks & Gimpel (2017), "A Baseline for Detecting Misclassified and Out-of-Distribution Examples".
    0.5 is chance; below 0.5 the score falls out of distribution, as the rate may (a network that lets
    little through where it knows nothing), and says so rather than being turned round. Uses scikit-learn,
    on the CPU.

    Args:
        scores_in: Scores of samples of the training distribution, [N], such as rate or entropy in nats.
            +inf is allowed.
        scores_out: Scores of other samples, [M], in the same unit.

    Returns:
        The area, in [0, 1].

    Raises:
        ValueError: If a side is empty, not a vector, or has NaN.

    Example:
        >>> out_of_distribution_auroc(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 3.0]))
        0.875
    """
    # Importing scikit-learn's parts draws from Python's random generator, which `import ib_pyro` must not, and SciPy's
    # statistics take half a second.
    from scipy.stats import rankdata
    from sklearn.metrics import roc_auc_score

    for name, scores in (("scores_in", scores_in), ("scores_out", scores_out)):
        if scores.ndim != 1 or scores.numel() == 0:
            raise ValueError(f"{name}: expected a non-empty [N], got {list(scores.shape)}")
        if bool(scores.isnan().any()):
            raise ValueError(f"{name}: {int(scores.isnan().sum())} of {scores.numel()} values are NaN")
    pooled = torch.cat([scores.detach().cpu().double() for scores in (scores_in, scores_out)]).numpy()
    is_out = [0] * len(scores_in) + [1] * len(scores_out)
    # The area depends on ranks alone, and ranks are finite where a rate is not.
    return float(roc_auc_score(is_out, rankdata(pooled)))
