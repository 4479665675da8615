"""Means over a held-out set, after each epoch of a fit."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.training.batch_arguments import Placement
from ib_pyro.training.data_checks import FirstLook
from ib_pyro.training.objective import Objective
from ib_pyro.training.randomness import seeded
from ib_pyro.training.sources import Source

__all__ = ["HeldOut"]


class HeldOut:
    """Looks at a held-out set under one draw of noise, the same each time.

    Args:
        program: The program.
        source: The set's batches, in one order.
        elbo: The objective at its target weights.
        look: What the first batch of the training set shows.
    """

    def __init__(
        self, program: nn.Module, source: Source, elbo: InformationBottleneckELBO, look: FirstLook
    ) -> None:
        # A total correlation is a property of batches, and other batches than the training set's have another.
        self._has_loss = not elbo.gamma
        own = deepcopy(elbo)
        own.gamma = 0.0
        self._program, self._source = program, source
        self._objective = Objective(program, own, labels=look.labels, num_data=look.num_data)

    @torch.no_grad()
    def means(self) -> dict[str, float]:
        """Return ``validation_loss``, ``validation_distortion``, ``validation_rate`` and ``validation_error``.

        The loss is left out where gamma weights a total correlation, and the error where there are no class labels.
        The program's training mode and the ambient generators are kept.
        """
        training, placed = self._program.training, Placement(self._program)
        self._program.eval()
        self._objective.means.reset()
        try:
            with seeded(0):
                for batch in self._source:
                    args, kwargs, _ = placed(batch)
                    self._objective(*args, **kwargs)
        finally:
            self._program.train(training)
        means = self._objective.means.compute()
        names = ("loss", "distortion", "rate", "error") if self._has_loss else ("distortion", "rate", "error")
        return {f"validation_{name}": means[name] for name in names if name in means}
