"""Means over the samples of an epoch, at next to no cost for a step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ib_pyro.elbo import Terms
from ib_pyro.precision import widest, without_autocast

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
        self._size = 0

    def add(self, loss: Tensor, terms: Terms, scores: Tensor | None, labels: Tensor) -> None:
        """Add a batch.

        Args:
            loss: Its mean loss, a scalar.
            terms: Its distortion, rates and total correlations.
            scores: Score of each class, ``[B, classes]``, if there are classes.
            labels: What was observed, ``[B, ...]``.
        """
        means = (loss.detach(), *(value.detach() for value in terms.total_correlation.values()))
        values = (terms.distortion.detach(), *(rate.detach() for rate in terms.rate.values()))
        if not self._names:
            error = () if scores is None else ("error",)
            correlations = (f"total_correlation/{site}" for site in terms.total_correlation)
            rates = (f"rate/{site}" for site in terms.rate)
            self._names = ("loss", *correlations, "distortion", *rates, *error)
        # Without scores there is nothing to compare labels with, and what is observed may be whole images.
        known = labels if scores is not None else None
        self._pending.append(_Step(means, len(labels), values, scores, known))
        self._size += len(labels)
        if len(self._pending) == _STEPS_PER_SUM:
            self._sums = self._total()
            self._pending = []

    def compute(self) -> dict[str, float]:
        """Return the means over all samples since ``reset``; the total ``rate`` is the sum over the sites.

        Returns:
            ``loss``, ``distortion``, ``rate``, ``rate/<site>`` and ``total_correlation/<site>`` in nats per sample,
            ``error`` as a share.

        Raises:
            FloatingPointError: If one of them is not finite; it names the sites.
        """
        values = dict(zip(self._names, (self._total() / self._size).tolist(), strict=True))
        rates = {name: value for name, value in values.items() if name.startswith("rate/")}
        _require_finite(values, rates)
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


def _require_finite(values: dict[str, float], rates: dict[str, float]) -> None:
    bad = [f"{name} = {value}" for name, value in values.items() if not math.isfinite(value)]
    if bad:
        sites = [name.removeprefix("rate/") for name, value in rates.items() if not math.isfinite(value)]
        where = f"site {', '.join(map(repr, sites))}" if sites else "the likelihood of 'y'"
        raise FloatingPointError(f"{where}: not finite ({', '.join(bad)}, nats per sample)")
