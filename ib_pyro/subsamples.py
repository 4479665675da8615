"""One subsample of the data for several runs of a program, whose numbers are averaged sample by sample."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from ib_pyro.checks import checks_values, fails

__all__ = ["SamplesOf", "one_subsample", "require_same_samples"]


class SamplesOf(NamedTuple):
    """What the numbers of one run are of.

    Attributes:
        shape: How many there are of each index.
        plates: Names of the plates whose indices those are.
        scale: What the plates scale every number by.
    """

    shape: tuple[int, ...]
    plates: frozenset[str]
    scale: float = 1.0


def require_same_samples(runs: Iterable[SamplesOf]) -> None:
    """Raise if numbers that are to be averaged over runs are of other samples in some.

    Args:
        runs: What those of each run are of.

    Raises:
        ValueError: Names the plates and their sizes in two runs.
    """
    first, *others = runs
    for other in others:
        if other != first:
            raise ValueError(
                f"the weights of one draw are of the plates {sorted(first.plates)}, of shape {first.shape} and scale "
                f"{first.scale:g}, and those of another of {sorted(other.plates)}, of shape {other.shape} and scale "
                f"{other.scale:g}, as where a program branches on a value: no sample has a weight in all. Give every "
                "run the same plates, of the same size, and mask what does not count"
            )


class one_subsample(Messenger):  # noqa: N801  (handlers read as verbs, as Pyro's do)
    """Give every run inside the subsample that a plate has drawn in the first.

    A plate with ``subsample_size=`` draws its samples anew each time that a program runs. The numbers of one index are
    then those of another sample in the next run, and a mean over runs is of no sample at all. The handler may be
    entered once for all runs, or again for each.

    Raises:
        ValueError: If a plate has another size in a later run, or is given another ``subsample=``; names the plate.

    >>> import pyro, torch
    >>> with one_subsample():
    ...     runs = [pyro.plate("data", 1000, subsample_size=2).indices for _ in range(2)]
    >>> torch.equal(*runs)
    True
    """

    def __init__(self) -> None:
        super().__init__()
        self._drawn: dict[str, tuple[tuple[int, int], Tensor]] = {}
        self._given: dict[str, Tensor | Sequence[int]] = {}

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        if not site_is_subsample(msg) or msg["done"]:  # type: ignore[arg-type]
            return
        name, law = msg["name"], msg["fn"]
        if msg["value"] is not None:
            _require_same_indices(name, self._given.setdefault(name, msg["value"]), msg["value"])
        elif law.subsample_size is not None and law.subsample_size < law.size:
            sizes = law.size, law.subsample_size
            if name not in self._drawn:
                self._drawn[name] = sizes, law.sample()
            _require_same_sizes(name, self._drawn[name][0], sizes)
            msg["value"], msg["done"] = self._drawn[name][1], True


def _require_same_sizes(name: str, first: tuple[int, int], sizes: tuple[int, int]) -> None:
    if first != sizes:
        raise ValueError(
            f"plate {name!r}: it draws {first[1]} of {first[0]} samples in one run and {sizes[1]} of {sizes[0]} in "
            "another, which have no numbers of the same samples to average; give it the same sizes in every run"
        )


def _require_same_indices(name: str, first: Tensor | Sequence[int], given: Tensor | Sequence[int]) -> None:
    if first is given:
        return
    if isinstance(first, Tensor) and isinstance(given, Tensor):
        other = first.shape != given.shape or (checks_values() and fails(first == given))
    else:
        other = list(first) != list(given)
    if other:
        raise ValueError(
            f"plate {name!r}: it is given another subsample= in every run, and the numbers of different samples would "
            "be averaged; pass the indices of one batch to the program as an argument, or give the plate "
            "subsample_size="
        )
