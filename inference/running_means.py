"""Means over the samples of an epoch, at next to no cost for a step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ib_pyro.elbo import Terms

__all__ = ["RunningMeans"]

# Summed so many steps at a time: a step of its own sums would spend a tenth of a small network's time on them.
# The steps are counted, not timed, so that the same run rounds to the same digits.
_STEPS_PER_SUM = 16


@dataclass(frozen=True)
class _Step:
    loss: Tensor
    size: int
    values: tuple[Tensor, ...]
    scores: Tensor | None
    labels: Tensor


class RunningMeans:
    """Collects what steps leave behind; everything stays on the device until `compute`."""

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
            terms: Its distortion and rates.
            scores: Score of each class, ``[B, classes]``, if there are classes.
            labels: What was observed, ``[B, ...]``.
        """
        values = (terms.distortion.detach(), *(rate.detach() for rate in terms.rate.values()))
        if not self._names:
            error = () if scores is None else ("error",)
            self._names = ("loss", "distortion", *(f"rate/{site}" for site in terms.rate), *error)
        self._pending.append(_Step(loss.detach(), len(labels), values, scores, labels))
        self._size += len(labels)
        if len(self._pending) == _STEPS_PER_SUM:
            self._sums = self._total()
            self._pending = []

    def compute(self) -> dict[str, float]:
        """Return the means over all samples since `reset`; the total ``rate`` is the sum over the sites.

        Returns:
            ``loss``, ``distortion``, ``rate`` and ``rate/<site>`` in nats per sample, ``error`` as a share.

        Raises:
            FloatingPointError: If one of them is not finite; it names the sites.
        """
        values = dict(zip(self._names, (self._total() / self._size).tolist(), strict=True))
        rates = {name: value for name, value in values.items() if name.startswith("rate/")}
        _require_finite(values, rates)
        error = {"error": values["error"]} if "error" in values else {}
        first = {"loss": values["loss"], "distortion": values["distortion"]}
        return {**first, "rate": math.fsum(rates.values()), **rates, **error}

    def _total(self) -> Tensor:
        if not self._pending:
            assert self._sums is not None
            return self._sums
        steps = self._pending
        losses = torch.stack([step.loss for step in steps])
        sizes = torch.tensor([step.size for step in steps], dtype=losses.dtype, device=losses.device)
        sums = [losses @ sizes, *(torch.cat(column).sum() for column in zip(*_columns(steps), strict=True))]
        if steps[0].scores is not None:
            scores = torch.cat([step.scores for step in steps if step.scores is not None])
            wrong = scores.argmax(-1) != torch.cat([step.labels for step in steps])
            sums.append(wrong.sum().to(losses.dtype))
        total = torch.stack(sums)
        return total if self._sums is None else self._sums + total


def _columns(steps: list[_Step]) -> list[tuple[Tensor, ...]]:
    return [step.values for step in steps]


def _require_finite(values: dict[str, float], rates: dict[str, float]) -> None:
    bad = [f"{name} = {value}" for name, value in values.items() if not math.isfinite(value)]
    if bad:
        sites = [name.removeprefix("rate/") for name, value in rates.items() if not math.isfinite(value)]
        where = f"site {', '.join(map(repr, sites))}" if sites else "the likelihood of 'y'"
        raise FloatingPointError(f"{where}: not finite ({', '.join(bad)}, nats per sample)")
