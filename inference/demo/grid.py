"""Which runs the demo compares: as many settings of its own noise for each method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from inference.config import FitConfig

__all__ = ["GRID", "Setting", "grid_configs"]


@dataclass(frozen=True)
class Setting:
    """A method at one strength of its noise.

    Args:
        dropout: Name of the method.
        option: Field of `FitConfig` that sets the strength; None for a method that has none.
        value: Its value.
    """

    dropout: str
    option: str | None = None
    value: float = 0.0

    @property
    def label(self) -> str:
        """Short name that fits in a path: ``information-beta_paper-1``."""
        return self.dropout if self.option is None else f"{self.dropout}-{self.option}-{self.value:g}"

    def config(self, out: Path, *, seed: int, epochs: int) -> FitConfig:
        """Configuration of one run, in a folder of its own below ``out``."""
        options = {} if self.option is None else {self.option: self.value}
        return FitConfig(
            out=out / f"{self.label}-seed-{seed}",
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


def grid_configs(out: Path, *, seeds: int, epochs: int) -> dict[Setting, list[FitConfig]]:
    """All runs of the comparison: every setting under every seed.

    Args:
        out: Folder of the runs.
        seeds: Number of seeds.
        epochs: Length of each run.
    """
    return {
        setting: [setting.config(out, seed=seed, epochs=epochs) for seed in range(seeds)] for setting in GRID
    }
