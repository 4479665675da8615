"""Means over a held-out set, after each epoch of a fit."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from ib_pyro.buffers import buffers_kept
from ib_pyro.data.cache import fingerprint
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.training.batch_arguments import Batch, Placement, leaves_of
from ib_pyro.training.data_checks import FirstLook, check_steps, look_at
from ib_pyro.training.finite_data import require_finite_loss
from ib_pyro.training.objective import Objective
from ib_pyro.training.programs import model_and_guide
from ib_pyro.training.randomness import seeded
from ib_pyro.training.sources import Source, source_of

__all__ = ["HeldOut", "held_out_for", "require_monitored"]

BATCH_SIZE = 1000


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
    def require_sound(self) -> None:
        """Make sure of a set in memory as of one that is fitted: all of it, before the first step.

        Raises:
            ValueError: If the program does not take it, some target is no value of its likelihood, or what is not
                finite reaches the loss; says that it is the held-out set, and what is wrong with it.
        """
        if self._source.whole is None:
            return
        training, placed = self._program.training, Placement(self._program)
        elbo, programs = self._objective.elbo, model_and_guide(self._program)

        def loss(batch: Batch) -> Tensor:
            return elbo.differentiable_loss(*programs, *placed(batch).args, **placed(batch).kwargs)

        self._program.eval()
        try:
            with seeded(0), buffers_kept([self._program]):
                require_finite_loss(self._source, loss)
                look = look_at(self._program, placed(self._source.first()))
                check_steps(look, self._source, placed, elbo=elbo, batch_size=BATCH_SIZE)
        except torch.cuda.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"validation: {error}") from error
        finally:
            self._program.train(training)

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
    source = source_of(data, device=device, default=BATCH_SIZE, name="validation")
    held_out = HeldOut(program, source, elbo, look)
    held_out.require_sound()
    return held_out


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
