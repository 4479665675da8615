"""The mean Lagrangian of a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from ib_pyro.elbo import InformationBottleneckELBO, Terms, captured
from ib_pyro.handlers import unwrap
from ib_pyro.training.batch_arguments import Batch, leaves_of
from ib_pyro.training.by_sample import terms_by_sample
from ib_pyro.training.programs import model_and_guide
from ib_pyro.training.running_means import RunningMeans

__all__ = ["Objective"]


class Objective(nn.Module):
    """Mean over a batch of ``-log p(y|z) + beta * rate``, in nats per sample.

    Args:
        program: A ``ib_pyro.Bottleneck``, or any module with ``model`` and ``guide``.
        elbo: The objective.
        labels: Which argument holds class labels, counted over all leaves; None for none.
        num_data: Size of the set that a batch is a subsample of; None if a batch stands for itself.

    Attributes:
        means: Means over all batches since its last reset.
    """

    def __init__(
        self,
        program: nn.Module,
        elbo: InformationBottleneckELBO,
        *,
        labels: int | None = -1,
        num_data: int | None = None,
    ) -> None:
        super().__init__()
        self.program = program
        self.elbo = elbo
        self.means = RunningMeans()
        self._labels = labels
        self._num_data = num_data or getattr(program, "num_data", None)
        self._captured = captured(elbo, (program, *model_and_guide(program)), self._evaluate)

    def forward(self, *args: Any, share: float = 1.0, **kwargs: Any) -> Tensor:
        """Evaluate a batch, and add it to the means.

        Args:
            *args: Arguments of the program, with ``[B, ...]`` samples.
            share: What the batch counts for, in the mean over several processes.
            **kwargs: Its arguments by name.

        Returns:
            The mean loss, a scalar with gradient.
        """
        loss, outputs = self._evaluate(self.elbo, *args, **kwargs)
        if share:
            self._add(loss, outputs, Batch(args, kwargs))
        return loss if share == 1.0 else loss * share

    @torch.no_grad()
    def replay(self, *args: Any, **kwargs: Any) -> None:
        """Do the same from a recording, and accumulate the loss's gradients in the parameters.

        Raises:
            CaptureError: If the program cannot be replayed.
        """
        replay = self._captured.accumulate(*args, **kwargs)
        self._add(replay.loss, replay.outputs, Batch(args, kwargs))

    def _evaluate(
        self, elbo: InformationBottleneckELBO, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Any]]:
        terms = elbo.terms(*model_and_guide(self.program), *args, **kwargs)
        batch = Batch(args, kwargs)
        # Pyro's loss is a sum over the batch, or over the whole set of which the batch stands for a share.
        size = batch.size
        whole = self._num_data or size
        distortion, rates = terms_by_sample(terms, size, whole)
        outputs: dict[str, Any] = {
            "distortion": distortion,
            "rate": rates,
            "total_correlation": terms.total_correlation,
        }
        scores = None if self._labels is None else _scores(terms, self._labels_of(batch))
        return terms.loss / whole, outputs if scores is None else outputs | {"scores": scores}

    def _labels_of(self, batch: Batch) -> Any:  # noqa: ANN401 (the argument in that place)
        assert self._labels is not None
        if not batch.kwargs and all([isinstance(part, Tensor) for part in batch.args]):
            return batch.args[self._labels]
        return list(leaves_of(batch))[self._labels]

    def _add(self, loss: Tensor, outputs: dict[str, Any], batch: Batch) -> None:
        scores = outputs.pop("scores", None)
        labels = None if scores is None else self._labels_of(batch)
        self.means.add(loss, Terms(loss=loss, **outputs), scores, labels, batch.size)


def _scores(terms: Terms, y: Any) -> Tensor | None:  # noqa: ANN401 (an argument of the program)
    """Return the score of each class, ``[B, classes]``, if y are the labels of the one thing that is observed."""
    if len(terms.likelihood) != 1 or not isinstance(y, Tensor) or y.dim() != 1 or y.is_floating_point():
        return None
    law = unwrap(next(iter(terms.likelihood.values())))
    if not isinstance(law, Categorical) or not law.batch_shape:
        return None
    # Of several particles one: their plates are to the left of the batch's.
    return law.logits.detach().flatten(0, -3)[0] if law.logits.dim() > 2 else law.logits.detach()
