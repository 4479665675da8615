"""The mean Lagrangian of a batch."""

from __future__ import annotations

from torch import Tensor, nn

from ib_pyro.elbo import InformationBottleneckELBO
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
        self._scores: Tensor | None = None
        decoder = getattr(program, "decoder", None)
        self._hook = decoder.register_forward_hook(self._keep_scores) if _classifies(program) else None

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
        scores, self._scores = self._scores, None
        if scores is not None and scores.dim() > 2:
            scores = scores.flatten(0, -3)[0]  # one of several particles
        self.means.add(loss, terms, scores, y)
        return loss

    def release(self) -> None:
        """Take the hook off the program again."""
        if self._hook is not None:
            self._hook.remove()

    def _keep_scores(self, _module: nn.Module, _inputs: object, output: object) -> None:
        self._scores = output.detach() if isinstance(output, Tensor) else None


def _classifies(program: nn.Module) -> bool:
    return getattr(program, "likelihood", None) == "categorical" and isinstance(
        getattr(program, "decoder", None), nn.Module
    )
