"""Sums over a batch of what an objective says of its samples."""

from torch import Tensor
from torch.distributions import Categorical

from ib_pyro.elbo import Terms
from ib_pyro.handlers import unwrap
from ib_pyro.precision import widest
from ib_pyro.training.by_sample import terms_by_sample

__all__ = ["scores_of", "sums_of"]


def scores_of(terms: Terms, y: Tensor) -> Tensor | None:
    """Return the score of each class, ``[batch, classes]``, if y are labels of the one thing that is observed."""
    if len(terms.likelihood) != 1 or y.dim() != 1 or y.is_floating_point():
        return None
    law = unwrap(next(iter(terms.likelihood.values())))
    if not isinstance(law, Categorical) or law.logits.dim() != 2:
        return None
    return law.logits.detach()


def sums_of(terms: Terms, scores: Tensor | None, y: Tensor, whole: int) -> dict[str, Tensor]:
    """Return the sums over a batch of what terms say of its samples, and the number of classes that are wrong.

    Args:
        terms: The terms of the batch.
        scores: The score of each class, where y are labels.
        y: What is observed, ``[batch, ...]``.
        whole: Samples of the set that the batch is a subsample of, or of the batch itself, see
            :func:`ib_pyro.training.by_sample.terms_by_sample`.
    """
    wide = widest(terms.distortion.device)
    distortion, rates = terms_by_sample(terms, len(y), whole, dtype=wide)
    values = {"distortion": distortion} | {f"rate/{site}": rate for site, rate in rates.items()}
    sums = {name: _sum(value.detach(), len(y)) for name, value in values.items()}
    for site, value in terms.total_correlation.items():
        sums[f"total_correlation/{site}"] = value.detach().to(wide) * len(y)
    if scores is not None:
        sums["error"] = (scores.argmax(-1) != y).sum().to(wide)
    return sums


def _sum(values: Tensor, size: int) -> Tensor:
    return values.sum() if values.dim() else values * size
