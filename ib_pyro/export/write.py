"""An export carried out, into memory or into a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ib_pyro.export.file import store_for
from ib_pyro.export.layout import ArraySpec
from ib_pyro.export.memory_store import MemoryStore
from ib_pyro.export.run import Export
from ib_pyro.export.tree import as_arviz, open_arviz, skeleton
from ib_pyro.export.types import InferenceTree
from ib_pyro.files import written_whole

__all__ = ["to_file", "to_memory"]

Labels = Mapping[str, Sequence[Any]]


def to_memory(
    export: Export, specs: list[ArraySpec], batch_size: int, *, coords: Labels, attrs: Mapping[str, Any]
) -> InferenceTree:
    """Fill arrays in memory, and return them as ArviZ's object.

    Args:
        export: What to draw from.
        specs: The arrays.
        batch_size: Number of rows of x that the program sees at once.
        coords: Labels of dimensions.
        attrs: Attributes of every group.
    """
    groups = skeleton(specs, coords, attrs)
    del groups["/"]
    store = MemoryStore(specs)
    export.fill(store, specs, batch_size)
    return as_arviz(store.datasets(groups), attrs)


def to_file(
    export: Export,
    specs: list[ArraySpec],
    batch_size: int,
    *,
    path: Path,
    coords: Labels,
    attrs: Mapping[str, Any],
) -> InferenceTree:
    """Write the arrays to a file, and return ArviZ's object that reads from it; see :func:`to_memory`."""
    kind = store_for(path)
    groups = skeleton(specs, coords, attrs)
    with written_whole(path) as partial:
        store = kind(partial, specs, groups, batch_size)
        try:
            export.fill(store, specs, batch_size)
        finally:
            store.close()
    return open_arviz(path, kind.engine)
