"""What a step, an epoch and an import may cost, and whether they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from inference.studies.bench.numpyro_vae import NUMPYRO
from inference.studies.bench.results import Results
from inference.studies.bench.runs_together import COMPILED, ONE_BY_ONE, TOGETHER
from inference.studies.bench.taking_turns import Quartiles

__all__ = ["TARGETS", "Target", "verdict"]

MET, NOT_MET, NOT_MEASURED = "met", "not met", "not measured"
WIDTHS = {64: {"captured": 1.10, "uncaptured": 1.30}, 512: {"captured": 1.05, "uncaptured": 1.08}}


@dataclass(frozen=True)
class Target:
    """A bound on something that is measured.

    Args:
        name: What it is about; the notes are under the same name.
        limit: The bound.
        find: Returns what was found, or None where it was not measured.
        at_least: Whether what is found may not be less, in place of more.
        unit: ``"x"`` for a ratio, ``"s"`` for seconds.
        threads: Threads that it is measured with.
    """

    name: str
    limit: float
    find: Callable[[Results], Quartiles | None]
    at_least: bool = False
    unit: str = "x"
    threads: int = 1


def verdict(target: Target, results: Results) -> str:
    """Say whether a target is met: its median counts."""
    found = target.find(results)
    if found is None:
        return NOT_MEASURED
    met = found.median >= target.limit if target.at_least else found.median <= target.limit
    return MET if met else NOT_MET


def _ratio(
    name: str, way: str, to: str, threads: int, clock: str | None = None
) -> Callable[[Results], Quartiles | None]:
    def find(results: Results) -> Quartiles | None:
        comparison = results.comparison(name, threads)
        return comparison.ratio(way, to, clock) if comparison else None

    return find


def _memory(name: str, way: str) -> Callable[[Results], Quartiles | None]:
    def find(results: Results) -> Quartiles | None:
        for each in results.memory:
            if each.name.startswith(name):
                ratio = each.ratio(way, "by hand")
                return Quartiles(ratio, ratio, ratio)
        return None

    return find


def _import_time(results: Results) -> Quartiles | None:
    return results.start_up.over("ib_pyro", "pyro") if results.start_up else None


def _steps() -> Iterator[Target]:
    for threads in (1, 2):
        for hidden, limits in WIDTHS.items():
            for way, limit in limits.items():
                name = f"MLP, H = {hidden}"
                found = _ratio(name, way, "by hand", threads)
                yield Target(f"{name}, {way}", limit, found, threads=threads)
        for way in ("captured", "uncaptured"):
            name = "All-CNN-32, 25%"
            yield Target(f"{name}, {way}", 1.03, _ratio(name, way, "by hand", threads), threads=threads)


def _epochs() -> Iterator[Target]:
    for threads in (1, 2):
        by_hand = _ratio("MNIST VAE", "captured", "by hand", threads)
        yield Target("MNIST VAE epoch, captured", 1.05, by_hand, threads=threads)
        rival = _ratio("MNIST VAE", "Pyro's tutorial", "captured", threads)
        yield Target(
            "MNIST VAE epoch of Pyro's tutorial over ours", 2.5, rival, at_least=True, threads=threads
        )
        jitted = _ratio("MNIST VAE beside NumPyro", "captured", NUMPYRO, threads)
        yield Target("MNIST VAE epoch over NumPyro's (a stretch)", 1.0, jitted, threads=threads)


def _sweeps() -> Iterator[Target]:
    for runs, limit in ((8, 0.45), (24, 0.40)):
        name = f"{runs} betas, H = 64"
        for together in (TOGETHER[0], COMPILED):
            for way in ONE_BY_ONE:
                yield Target(f"{name}, {together} over {way}", limit, _ratio(name, together, way, 1))


def _memories() -> Iterator[Target]:
    for name in ("MLP", "All-CNN-32", "MNIST VAE"):
        for way in ("captured", "uncaptured"):
            yield Target(f"peak memory, {name}, {way}", 1.05, _memory(name, way))


TARGETS: tuple[Target, ...] = (
    *_steps(),
    *_epochs(),
    *_memories(),
    *_sweeps(),
    Target("import ib_pyro over import pyro", 0.3, _import_time, unit="s"),
)
