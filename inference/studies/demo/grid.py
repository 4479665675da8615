"""Which runs the demo compares: as many settings of its own noise for each method."""

from __future__ import annotations

from dataclasses import dataclass

from inference.runs.spec import RunSpec

__all__ = ["GRID", "UNITS", "Setting", "grid_specs"]

UNITS = {"beta_paper": "β × N", "drop_prob": "p", "alpha": "α", "epochs": "epochs"}
"""Symbols of what sets a strength."""


@dataclass(frozen=True)
class Setting:
    """A method at one strength of its noise.

    Args:
        dropout: Name of the method.
        option: Setting of a run that sets the strength; None for a method that has none.
        value: Its value.
    """

    dropout: str
    option: str | None = None
    value: float = 0.0

    @property
    def label(self) -> str:
        """Short name that fits in a path: ``information-beta_paper-1``."""
        return self.dropout if self.option is None else f"{self.dropout}-{self.option}-{self.value:g}"

    def spec(self, *, seed: int, epochs: int) -> RunSpec:
        """One run of it."""
        options = {} if self.option is None else {self.option: self.value}
        return RunSpec.of(
            dropout=self.dropout,
            epochs=epochs,
            seed=seed,
            checkpoint_every=epochs,
            accelerator="cpu",
            threads=1,
            **options,
        )


def _settings(dropout: str, option: str, values: tuple[float, ...]) -> tuple[Setting, ...]:
    return tuple(Setting(dropout, option, value) for value in values)


GRID: tuple[Setting, ...] = (
    *_settings("information", "beta_paper", (1.0, 3.0, 10.0, 30.0)),
    *_settings("binary", "drop_prob", (0.1, 0.2, 0.35, 0.5)),
    *_settings("constant", "alpha", (0.2, 0.4, 0.7, 1.0)),
    Setting("none"),
)


def grid_specs(*, seeds: int, epochs: int) -> dict[Setting, dict[str, RunSpec]]:
    """All runs of the comparison: every setting under every seed, by the name of its folder.

    Args:
        seeds: Number of seeds.
        epochs: Length of each run.
    """
    return {
        setting: {
            f"{setting.label}-seed-{seed}": setting.spec(seed=seed, epochs=epochs) for seed in range(seeds)
        }
        for setting in GRID
    }
