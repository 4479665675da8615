"""The mean Lagrangian of a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from ib_pyro.elbo import InformationBottleneckELBO, Terms, captured
from ib_pyro.handlers import unwrap
from ib_pyro.training.model_and_guide import model_and_guide
from ib_pyro.training.running_means import RunningMeans

__all__ = ["Objective"]


class Objective(nn.Module):
    """Mean over a batch of ``-log p(y|z) + beta * rate``, in nats per sample.

    Args:
        program: A ``ib_pyro.Bottleneck``, or any module with ``model`` and ``guide``.
        elbo: The objective.

    Attributes:
        means: Means over all batches since its last reset.
    """

    def __init__(self, program: nn.Module, elbo: InformationBottleneckELBO) -> None:
        super().__init__()
        self.program = program
        self.elbo = elbo
        self.means = RunningMeans()
        self._captured = captured(elbo, (program, *model_and_guide(program)), self._evaluate)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Evaluate a batch, and add it to the means.

        Args:
            x: Inputs, ``[B, ...]``.
            y: What is observed, ``[B, ...]``.

        Returns:
            The mean loss, a scalar with gradient.
        """
        loss, outputs = self._evaluate(self.elbo, x, y)
        self._add(loss, outputs, y)
        return loss

    @torch.no_grad()
    def replay(self, x: Tensor, y: Tensor) -> None:
        """Do the same from a recording, and accumulate the loss's gradients in the parameters.

        Raises:
            CaptureError: If the program cannot be replayed.
        """
        replay = self._captured.accumulate(x, y)
        self._add(replay.loss, replay.outputs, y)

    def _evaluate(
        self, elbo: InformationBottleneckELBO, x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict[str, Any]]:
        terms = elbo.terms(*model_and_guide(self.program), x, y)
        # Pyro's loss is a sum over the batch, or over the whole set of which the batch stands for a share.
        loss = terms.loss / (getattr(self.program, "num_data", None) or len(x))
        outputs: dict[str, Any] = {"distortion": terms.distortion, "rate": terms.rate}
        outputs["total_correlation"] = terms.total_correlation
        scores = _scores(terms, y)
        return loss, outputs if scores is None else outputs | {"scores": scores}

    def _add(self, loss: Tensor, outputs: dict[str, Any], y: Tensor) -> None:
        scores = outputs.pop("scores", None)
        self.means.add(loss, Terms(loss=loss, **outputs), scores, y)


def _scores(terms: Terms, y: Tensor) -> Tensor | None:
    """Return the score of each class, ``[B, classes]``, if y are the labels of the one thing that is observed."""
    if len(terms.likelihood) != 1 or y.dim() != 1 or y.is_floating_point():
        return None
    law = unwrap(next(iter(terms.likelihood.values())))
    if not isinstance(law, Categorical) or not law.batch_shape:
        return None
    # Of several particles one: their plates are to the left of the batch's.
    return law.logits.detach().flatten(0, -3)[0] if law.logits.dim() > 2 else law.logits.detach()
