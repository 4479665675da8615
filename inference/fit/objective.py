"""The mean Lagrangian of a batch."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import Categorical

from ib_pyro.elbo import InformationBottleneckELBO, Terms
from ib_pyro.handlers import unwrap
from inference.fit.running_means import RunningMeans

__all__ = ["Objective"]


class Objective(nn.Module):
    """Mean over a batch of ``-log p(y|z) + beta * rate``, in nats per sample.

    Args:
        program: A `ib_pyro.Bottleneck`, or any module with ``model`` and ``guide``.
        elbo: The objective.

    Attributes:
        means: Means over all batches since its last reset.
    """

    def __init__(self, program: nn.Module, elbo: InformationBottleneckELBO) -> None:
        super().__init__()
        self.program = program
        self.elbo = elbo
        self.means = RunningMeans()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Evaluate a batch, and add it to the means.

        Args:
            x: Inputs, ``[B, ...]``.
            y: What is observed, ``[B, ...]``.

        Returns:
            The mean loss, a scalar with gradient.
        """
        terms = self.elbo.terms(self.program.model, self.program.guide, x, y)
        # Pyro's loss is a sum over the batch, or over the whole set of which the batch stands for a share.
        loss = terms.loss / (getattr(self.program, "num_data", None) or len(x))
        self.means.add(loss, terms, _scores(terms, y), y)
        return loss


def _scores(terms: Terms, y: Tensor) -> Tensor | None:
    """Return the score of each class, ``[B, classes]``, if y are the labels of the one thing that is observed."""
    if len(terms.likelihood) != 1 or y.dim() != 1 or y.is_floating_point():
        return None
    law = unwrap(next(iter(terms.likelihood.values())))
    if not isinstance(law, Categorical) or not law.batch_shape:
        return None
    # Of several particles one: their plates are to the left of the batch's.
    return law.logits.detach().flatten(0, -3)[0] if law.logits.dim() > 2 else law.logits.detach()
