"""Sums over a batch of what an objective says of its samples."""

from torch import Tensor
from torch.distributions import Categorical

from ib_pyro.elbo import Terms
from ib_pyro.handlers import unwrap
from ib_pyro.precision import widest

__all__ = ["scores_of", "sums_of"]


def scores_of(terms: Terms, y: Tensor) -> Tensor | None:
    """Return the score of each class, ``[batch, classes]``, if y are labels of the one thing that is observed."""
    if len(terms.likelihood) != 1 or y.dim() != 1 or y.is_floating_point():
        return None
    law = unwrap(next(iter(terms.likelihood.values())))
    if not isinstance(law, Categorical) or law.logits.dim() != 2:
        return None
    return law.logits.detach()


def sums_of(terms: Terms, scores: Tensor | None, y: Tensor) -> dict[str, Tensor]:
    """Return the sums over a batch of what terms say of its samples, and the number of classes that are wrong."""
    wide = widest(terms.distortion.device)
    sums = {"distortion": terms.distortion.detach().sum(dtype=wide)}
    sums |= {f"rate/{site}": rate.detach().sum(dtype=wide) for site, rate in terms.rate.items()}
    for site, value in terms.total_correlation.items():
        sums[f"total_correlation/{site}"] = value.detach().to(wide) * len(y)
    if scores is not None:
        sums["error"] = (scores.argmax(-1) != y).sum().to(wide)
    return sums
