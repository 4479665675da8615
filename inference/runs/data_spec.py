"""The images of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ib_pyro.choices import require_known
from inference.runs.own_function import OwnFunction, is_own_function
from inference.runs.settings import Scalar, flag, require, require_finite_options, setting, shown

if TYPE_CHECKING:
    from inference.runs.splits import Splits

__all__ = ["DataSpec"]

# Arguments of `ib_pyro.data.load` that its errors name, and the settings that they come from.
_ARGUMENTS = {"root": "data_root"} | {
    name: name for name in ("holdout", "limit", "validation_limit", "test_limit")
}
OWN = "a function or a folder of your own, as --data module:function or --data ./folder"
_STAND_INS = ("cifar10", "cluttered-mnist", "mnist", "occluded-cifar")


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Which images are fitted, choose and test, and how they are prepared.

    Raises:
        ValueError: If a value is out of range, or there is no stand-in for the set.
    """

    data: str = setting(
        "digits",
        'name of the data set; or module:function, which returns {"train": (x, y), "test": (x, y)}; or a folder of '
        "images with a folder a class, written with a slash as in ./flowers",
    )
    data_options: dict[str, Scalar] | None = setting(
        None,
        "arguments of --data module:function, as limit=10,fold=2; of a folder size=PIXELS and test_share=SHARE",
    )
    data_root: Path | None = setting(
        None,
        "folder with the data (default: the environment's IB_PYRO_DATA); of --data module:function its argument root",
        place=True,
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
        if self.is_own and self.whiten:
            raise ValueError(
                f"--whiten goes with sets by name; whiten the images of --data {self.data} yourself"
            )
        require_finite_options("data_options", self.data_options)
        if self.data_options and not self.is_own:
            raise ValueError(
                f"--data-options {shown(self.data_options)} goes with {OWN}; got --data {self.data}"
            )

    @property
    def own(self) -> OwnFunction | None:
        """The function of the user's own that loads the data; None where something else does."""
        return OwnFunction.of("data", self.data)

    @property
    def is_folder(self) -> bool:
        """Whether the data are a folder of images."""
        return not is_own_function(self.data) and any(sign in self.data for sign in "/\\")

    @property
    def is_own(self) -> bool:
        """Whether the data are of the user's own."""
        return self.own is not None or self.is_folder

    def placed(self) -> DataSpec:
        """The same, with a folder of images under a root that does not depend on the folder of this process."""
        if not self.is_folder:
            return self
        if self.data_root is not None:
            return replace(self, data_root=self.data_root.expanduser().absolute())
        folder = Path(os.path.abspath(Path(self.data).expanduser()))
        return replace(self, data=f"{folder.name}/", data_root=folder.parent)

    def _state(self) -> str:
        """Stands for what the user may change while this process goes on: a module, or the files of a folder."""
        if self.own is not None:
            return str(self.own.sources())
        if not self.is_folder:
            return ""
        files = sorted(((self.data_root or Path()) / self.data).expanduser().rglob("*"))
        return str([(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files])

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

        if not self.is_own:
            require_known("data set", self.data, DATASETS, otherwise=f"name {OWN}")
        # The variable of the environment says where sets lie that have a name.
        root = self.data_root if self.is_folder else data_root(self.data_root)
        try:
            return load_splits(
                self.data,
                tuple(self.limits.items()),
                root=None if self.stand_in else root,
                options=tuple((self.data_options or {}).items()) if self.is_own else None,
                state=self._state(),
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
