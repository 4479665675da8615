"""The images of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ib_pyro.choices import require_known
from inference.runs.settings import flag, require, setting

if TYPE_CHECKING:
    from inference.runs.splits import Splits

__all__ = ["DataSpec"]

# Arguments of `ib_pyro.data.load` that its errors name, and the settings that they come from.
_ARGUMENTS = {"root": "data_root"} | {
    name: name for name in ("holdout", "limit", "validation_limit", "test_limit")
}
_STAND_INS = ("cifar10", "cluttered-mnist", "mnist", "occluded-cifar")


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Which images are fitted, choose and test, and how they are prepared.

    Raises:
        ValueError: If a value is out of range, or there is no stand-in for the set.
    """

    data: str = setting("digits", "name of the data set")
    data_root: Path | None = setting(
        None, "folder with the data (default: the environment's IB_PYRO_DATA)", place=True
    )
    data_seed: int = setting(0, "seed of generated sets and of images that are drawn binary for a test")
    limit: int | None = setting(None, "use at most this many training images (default: all)")
    holdout: int | None = setting(
        None, "images held out from train for validation (default: the set's own; 0: none)"
    )
    validation_limit: int | None = setting(
        None, "use at most this many of the held-out images (default: all; 0: none)"
    )
    test_limit: int | None = setting(None, "use at most this many test images (default: all)")
    whiten: bool = setting(
        False, "normalise each image and whiten them all (ZCA), as the paper does CIFAR-10"
    )
    wrong_labels: float = setting(
        0.0,
        "share of the training images that are given a wrong label, any other of the classes, drawn by data_seed",
    )
    stand_in: bool = setting(
        False, "small stand-ins of the set made of scikit-learn's digits, to try a program"
    )

    def __post_init__(self) -> None:
        for name in ("limit", "test_limit"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "at least 1")
        for name in ("holdout", "validation_limit"):
            value = getattr(self, name)
            require(value is None or value >= 0, name, value, "not negative")
        require(0 <= self.wrong_labels <= 1, "wrong_labels", self.wrong_labels, "within [0, 1]")
        require(0 <= self.data_seed < 2**32, "data_seed", self.data_seed, "within [0, 2**32)")
        if self.stand_in:
            require_known("stand-in", self.data, _STAND_INS)

    @property
    def limits(self) -> dict[str, int | None]:
        """At most how many images of each split; 0 where there is no such split."""
        held_out = 0 if self.holdout == 0 else self.validation_limit
        return {"train": self.limit, "validation": held_out, "test": self.test_limit}

    def build(self, cache: Path | None = None) -> Splits:
        """Load and prepare the splits; the last ones stay in memory, and are not to be changed.

        Args:
            cache: Folder that keeps the fitted whitening; by default that of the data's cache.

        Raises:
            ValueError: If the set is unknown, or has too few images; it names the option.
            FileNotFoundError: If its files are not there.
        """
        from ib_pyro.data import DATASETS
        from ib_pyro.data.request import data_root
        from inference.runs.splits import load_splits

        require_known("data set", self.data, DATASETS)
        try:
            return load_splits(
                self.data,
                tuple(self.limits.items()),
                root=None if self.stand_in else data_root(self.data_root),
                seed=self.data_seed,
                holdout=self.holdout,
                whiten=self.whiten,
                wrong_labels=self.wrong_labels,
                stand_in=self.stand_in,
                cache=cache,
            )
        except (ValueError, OSError) as error:
            kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
            raise kind(_as_options(str(error))) from error


def _as_options(message: str) -> str:
    """Name arguments of ``ib_pyro.data.load`` as they are typed on the command line."""
    argument, colon, rest = message.partition(": ")
    if argument in _ARGUMENTS:
        message = f"{flag(_ARGUMENTS[argument])}{colon}{rest}"
    return message.replace("root=DIR", "--data-root DIR")
