"""What a fit has to say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

__all__ = ["FitResult", "Row"]

Row = dict[str, Any]
"""The metrics of an epoch by name."""


@dataclass(frozen=True, repr=False)
class FitResult:
    """What a fit has to say: a row of metrics for each epoch.

    Each row has ``epoch`` (from 1), ``loss``, ``distortion``, ``rate``, ``rate/<site>`` and
    ``total_correlation/<site>`` in nats per sample and ``train_error`` as a share, under noise and while the
    parameters moved; ``seconds``; ``beta`` (per sample, nats) and ``beta_paper`` (times the number of samples) at the
    epoch's last step, and ``lr``. ``loss`` is what was minimised; where schedules move its weights, ``lagrangian`` is
    distortion, rate and total correlation at the target weights, unless those differ from sample to sample.

    With a validation set there are ``validation_loss``, at the target weights, ``validation_distortion``,
    ``validation_rate`` and ``validation_error`` too: after the epoch and under one draw of noise, the same in each.

    Attributes:
        rows: The metrics, an epoch a row.
        not_captured: Why steps were not replayed from a recording; None if they were.
        stopped: Why the fit ended.
        best_epoch: The epoch with the best value of what was monitored; None without a validation set.
        kept_epoch: The epoch whose parameters the program has.
    """

    rows: list[Row] = field(default_factory=list)
    not_captured: str | None = None
    stopped: str = ""
    best_epoch: int | None = None
    kept_epoch: int | None = None

    def __repr__(self) -> str:
        last = self.rows[-1] if self.rows else {}
        found = [f"{self.epochs} epoch{'s' * (self.epochs != 1)}"]
        found += [f"{name} {last[name]:.4g}" for name in ("loss", "distortion", "rate") if name in last]
        found += [f"train error {last['train_error']:.1%}"] if last.get("train_error") is not None else []
        return f"{type(self).__name__}({', '.join(found)}; {self.stopped or 'not ended'})"

    @property
    def history(self) -> pd.DataFrame:
        """The metrics as a table, an epoch a row."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return len(self.rows)

    @property
    def seconds(self) -> float:
        """Seconds spent in training steps, over all sessions of the run."""
        return sum(row["seconds"] for row in self.rows)
