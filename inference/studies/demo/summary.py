"""Means over seeds, and the setting that each method chooses on held-out images."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference.studies.demo.grid import Setting

__all__ = ["Mean", "Summary", "summarize"]


@dataclass(frozen=True)
class Mean:
    """A mean over runs and its standard error (NaN for a single run)."""

    value: float
    error: float
    runs: int = 1

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Mean:
        """Average over independent runs: the standard error is ``s / sqrt(n)`` with s of ``n - 1``.

        Args:
            values: A number a run. Where one has none, None as a file says it or NaN, there is no mean either.

        >>> Mean.of([1.0, 2.0, 3.0])
        Mean(value=2.0, error=0.5773502691896258, runs=3)
        >>> Mean.of([1.0, None]).percent()
        'nan'
        """
        numbers = [float(value) for value in values if value is not None and math.isfinite(value)]
        if len(numbers) < len(values):
            return cls(math.nan, math.nan, len(values))
        error = statistics.stdev(numbers) / math.sqrt(len(numbers)) if len(numbers) > 1 else math.nan
        return cls(statistics.fmean(numbers), error, len(values))

    @property
    def rank(self) -> float:
        """Its value, by which the least is chosen; infinite where there is none, which is chosen last."""
        return math.inf if math.isnan(self.value) else self.value

    @property
    def half_width(self) -> float:
        """Half of Student's 95 % interval over the runs; NaN for a single one.

        >>> round(Mean.of([1.0, 2.0, 3.0]).half_width, 3)
        2.484
        """
        from scipy.stats import t

        return self.error * float(t.ppf(0.975, self.runs - 1)) if self.runs > 1 else math.nan

    def percent(self) -> str:
        """A share and its 95 % interval in percent.

        >>> Mean.of([0.01, 0.02, 0.03]).percent()
        '2.0 ± 2.5'
        """
        text = f"{100 * self.value:.1f}"
        return text if math.isnan(self.error) else f"{text} ± {100 * self.half_width:.1f}"


@dataclass(frozen=True)
class Summary:
    """One setting over all seeds: errors as shares, rate and distortion in nats per sample.

    Args:
        setting: Method and strength of its noise.
        seeds: Number of runs.
        beta: Weight of the rate, per sample.
        validation_error: Held-out error, noise off.
        error: Test error, noise off.
        error_predictive: Test error of the posterior predictive.
        distortion: Of the test set, under noise.
        rate: Of the test set.
        chosen: Whether this is its method's choice: the least held-out error.
    """

    setting: Setting
    seeds: int
    beta: float
    validation_error: Mean
    error: Mean
    error_predictive: Mean
    distortion: Mean
    rate: Mean
    chosen: bool = False


def summarize(results: Mapping[Setting, Sequence[Mapping[str, Any]]]) -> list[Summary]:
    """Average every setting over its seeds and mark each method's choice.

    The choice is made on held-out images, never on the test set, and among as many settings for each method.

    Args:
        results: The contents of ``result.json`` for each setting, a run a seed.
    """
    averaged = {setting: _average(setting, runs) for setting, runs in results.items()}
    chosen = {}
    for setting, summary in averaged.items():
        best = chosen.get(setting.dropout)
        if best is None or summary.validation_error.rank < averaged[best].validation_error.rank:
            chosen[setting.dropout] = setting
    return [_average(setting, runs, chosen=setting in chosen.values()) for setting, runs in results.items()]


def _average(setting: Setting, runs: Sequence[Mapping[str, Any]], *, chosen: bool = False) -> Summary:
    def mean(name: str) -> Mean:
        return Mean.of([run[name] for run in runs])

    return Summary(
        setting=setting,
        seeds=len(runs),
        beta=runs[0]["beta"],
        validation_error=mean("validation_error_deterministic"),
        error=mean("test_error_deterministic"),
        error_predictive=mean("test_error_predictive"),
        distortion=mean("distortion"),
        rate=mean("rate"),
        chosen=chosen,
    )
