"""Means over the samples of an epoch, at next to no cost for a step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ib_pyro.elbo import Terms
from ib_pyro.precision import widest, without_autocast
from ib_pyro.training.divergence import require_finite_terms

__all__ = ["RunningMeans"]

# Summed so many steps at a time: a step of its own sums would spend a tenth of a small network's time on them.
# The steps are counted, not timed, so that the same run rounds to the same digits.
_STEPS_PER_SUM = 16


@dataclass(frozen=True)
class _Step:
    means: tuple[Tensor, ...]
    size: int
    values: tuple[Tensor, ...]
    scores: Tensor | None
    labels: Tensor | None


class RunningMeans:
    """Collects what steps leave behind; everything stays on the device until ``compute``.

    Sums are taken in float64 (on MPS in float32) whatever the precision of the steps.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._names: tuple[str, ...] = ()
        self._sums: Tensor | None = None
        self._pending: list[_Step] = []
        self.size = 0

    def add(
        self, loss: Tensor, terms: Terms, scores: Tensor | None, labels: Tensor | None, size: int
    ) -> None:
        """Add a batch.

        Args:
            loss: Its mean loss, a scalar.
            terms: Its distortion and rates, ``[B]`` each or a scalar, their mean; and its total correlations.
            scores: Score of each class, ``[B, classes]``, if there are classes.
            labels: The right classes, ``[B]``, if there are classes.
            size: Number of samples.
        """
        parts = {
            "distortion": terms.distortion,
            **{f"rate/{name}": rate for name, rate in terms.rate.items()},
        }
        means = {name: value for name, value in parts.items() if value.dim() == 0}
        correlations = {f"total_correlation/{name}": value for name, value in terms.total_correlation.items()}
        means = {"loss": loss, **correlations, **means}
        values = {name: value for name, value in parts.items() if value.dim()}
        if not self._names:
            self._names = (*means, *values, *(() if scores is None else ("error",)))
        means_now = tuple([value.detach() for value in means.values()])
        values_now = tuple([value.detach() for value in values.values()])
        # Without scores there is nothing to compare labels with, and what is observed may be whole images.
        known = labels if scores is not None else None
        self._pending.append(_Step(means_now, size, values_now, scores, known))
        self.size += size
        if len(self._pending) == _STEPS_PER_SUM:
            self._sums = self._total()
            self._pending = []

    def compute(self, add_up: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
        """Return the means over all samples since ``reset``; the total ``rate`` is the sum over the sites.

        Args:
            add_up: Adds a tensor up over all processes that share the samples.

        Returns:
            ``loss``, ``distortion``, ``rate``, ``rate/<site>`` and ``total_correlation/<site>`` in nats per sample,
            ``error`` as a share.

        Raises:
            DivergenceError: If one of them is not finite; it names the sites.
        """
        total = self._total()
        if add_up is not None:
            total = add_up(torch.cat([total, total.new_tensor([float(self.size)])]))
            total, self.size = total[:-1], int(total[-1])
        values = dict(zip(self._names, (total / self.size).tolist(), strict=True))
        require_finite_terms(values)
        rates = {name: values.pop(name) for name in list(values) if name.startswith("rate/")}
        first = {"loss": values.pop("loss"), "distortion": values.pop("distortion")}
        return {**first, "rate": math.fsum(rates.values()), **rates, **values}

    def _total(self) -> Tensor:
        if not self._pending:
            assert self._sums is not None
            return self._sums
        with without_autocast(self._pending[0].means[0].device):
            total = _sums(self._pending)
        return total if self._sums is None else self._sums + total


def _sums(steps: list[_Step]) -> Tensor:
    # The losses of an epoch need more digits than the values have: bfloat16 cannot tell 256 samples from 257.
    wide = widest(steps[0].means[0].device)
    means = torch.stack([mean for step in steps for mean in step.means]).view(len(steps), -1)
    sizes = torch.tensor([[step.size] for step in steps], dtype=wide, device=means.device)
    sums = [*(sizes * means).sum(0), *(torch.cat(column).sum(dtype=wide) for column in _columns(steps))]
    if steps[0].scores is not None:
        scores = torch.cat([step.scores for step in steps if step.scores is not None])
        wrong = scores.argmax(-1) != torch.cat([step.labels for step in steps if step.labels is not None])
        sums.append(wrong.sum().to(wide))
    return torch.stack(sums)


def _columns(steps: list[_Step]) -> list[tuple[Tensor, ...]]:
    return list(zip(*(step.values for step in steps), strict=True))
