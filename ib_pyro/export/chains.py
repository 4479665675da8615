"""Several fitted programs as the chains of one export: the same arrays of each, filled one after another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ib_pyro.export.arrays import ArraySpec
from ib_pyro.export.exporting import Arrays, Export, prepare
from ib_pyro.export.program import Inputs, Program
from ib_pyro.export.random_streams import Streams
from ib_pyro.export.wishes import Wishes

__all__ = ["Chains", "prepare_chains"]


@dataclass(frozen=True)
class Chains:
    """What each chain draws from.

    Attributes:
        exports: An export for each chain.
        batch_sizes: Number of rows of x that each program sees at once.
    """

    exports: tuple[Export, ...]
    batch_sizes: tuple[int, ...]

    @property
    def batch_size(self) -> int:
        """Number of rows in the smallest batch of all."""
        return min(self.batch_sizes)

    def fill(self, arrays: Arrays, specs: list[ArraySpec]) -> None:
        """Draw everything, chain by chain and batch by batch.

        Args:
            arrays: Where it goes.
            specs: The arrays, as described.
        """
        for chain, (export, batch_size) in enumerate(zip(self.exports, self.batch_sizes, strict=True)):
            export.fill(arrays, specs, batch_size, chain)


def prepare_chains(
    programs: Sequence[Program], inputs: Inputs, wishes: Wishes, streams: Streams
) -> tuple[Chains, list[ArraySpec]]:
    """Look at each program through the first rows of x; where their draws start does not depend on what is seen.

    Args:
        programs: The programs, one a chain.
        inputs: Their arguments.
        wishes: What is asked for.
        streams: Where to draw from.

    Returns:
        The chains, and their arrays.

    Raises:
        ValueError: If a program has other variables than the first, or of another shape or kind, or what
            :func:`~ib_pyro.export.exporting.prepare` refuses.
    """
    prepared = []
    for program in programs:
        with streams.kept():
            prepared.append(prepare(program, inputs, wishes, streams, len(programs)))
    (_, specs, _), *others = prepared
    for chain, (_, other, _) in enumerate(others, start=1):
        _require_same_arrays(specs, other, chain)
    varying = {spec.key for _, each, _ in prepared for spec in each if not spec.repeats}
    specs = [replace(spec, repeats=spec.key not in varying) for spec in specs]
    return Chains(tuple(e for e, _, _ in prepared), tuple(size for _, _, size in prepared)), specs


def _require_same_arrays(specs: list[ArraySpec], other: list[ArraySpec], chain: int) -> None:
    first, second = ({spec.key: spec for spec in each} for each in (specs, other))
    for group, name in sorted(first.keys() ^ second.keys()):
        raise ValueError(
            f"program: group {group!r} has a variable {name!r} of one of the programs 0 and {chain} and not of the "
            "other; chains hold the same sites of each: leave it out with sites= or groups=, or export apart"
        )
    for key, spec in first.items():
        for what in ("dims", "shape", "dtype", "attrs"):
            mine, theirs = getattr(spec, what), getattr(second[key], what)
            if mine != theirs:
                raise ValueError(
                    f"program: variable {spec.name!r} of the group {spec.group!r} has {what} {mine} of program 0 and "
                    f"{theirs} of program {chain}; chains are programs of one shape: export them apart"
                )
