"""How a run is evaluated."""

from __future__ import annotations

from dataclasses import dataclass

from inference.runs.settings import require, setting

__all__ = ["EvaluationSpec"]


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec:
    """Draws and batches of the evaluation.

    Raises:
        ValueError: If a value is out of range.
    """

    num_samples: int = setting(16, "noise samples of the posterior predictive in the evaluation")
    num_importance_samples: int = setting(
        64, "draws of the importance-weighted bound of --model vae (0: no such bound)"
    )
    eval_batch_size: int = setting(1000, "images at a time in the evaluation")
    validate_every_epoch: bool = setting(True, "test on the held-out images after every epoch as well")

    def __post_init__(self) -> None:
        for name in ("num_samples", "eval_batch_size"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        draws = self.num_importance_samples
        require(draws >= 0, "num_importance_samples", draws, "not negative")
