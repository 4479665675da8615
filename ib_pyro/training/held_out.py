"""Means over a held-out set, after each epoch of a fit."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from ib_pyro.data.cache import fingerprint
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.training.batch_arguments import Placement, leaves_of
from ib_pyro.training.data_checks import FirstLook
from ib_pyro.training.objective import Objective
from ib_pyro.training.randomness import seeded
from ib_pyro.training.sound_set import BATCH_SIZE, require_sound_set
from ib_pyro.training.sources import Source, source_of

__all__ = ["HeldOut", "held_out_for", "require_monitored"]


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

    def described(self, *, with_digest: bool) -> dict[str, str | int | float | None]:
        """Return what tells the set from another: how many samples and, of one in memory, a digest of it.

        Args:
            with_digest: Whether to read the set for it.
        """
        found: dict[str, str | int | float | None] = {"validation_samples": self._source.size}
        if self._source.whole is not None and with_digest:
            found["validation"] = fingerprint(*leaves_of(self._source.whole))
        return found


def held_out_for(
    program: nn.Module,
    data: object | None,
    elbo: InformationBottleneckELBO,
    look: FirstLook,
    *,
    device: torch.device,
) -> HeldOut | None:
    """Return what looks at a held-out set of any kind, once it is made sure of; None where there is none.

    Args:
        program: The program.
        data: The set, as for :func:`ib_pyro.fit`.
        elbo: The objective at its target weights.
        look: What the first batch of the training set shows.
        device: Where to compute.

    Raises:
        ValueError: If the program does not take the set.
    """
    if data is None:
        return None
    require_sound_set(program, data, elbo, name="validation")
    return HeldOut(program, source_of(data, device=device, default=BATCH_SIZE, name="validation"), elbo, look)


def require_monitored(monitor: str, elbo: InformationBottleneckELBO, look: FirstLook) -> None:
    """Make sure that a held-out set has a mean that is to be waited for.

    Args:
        monitor: Its name, without ``validation_``.
        elbo: The objective at its target weights.
        look: What the first batch of the training set shows.

    Raises:
        ValueError: If it has not; says which it has.
    """
    if monitor == "loss" and elbo.gamma:
        raise ValueError(
            "patience: with gamma the loss has a total correlation, which held-out batches of another size do not "
            "share; monitor='distortion' or 'error'"
        )
    if monitor == "error" and look.labels is None:
        raise ValueError("monitor='error': what the program observes is no class label; monitor 'loss'")
