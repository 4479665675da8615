"""The object that the installed ArviZ works with, filled in memory or in a file."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ib_pyro.export.arrays import ArraySpec
from ib_pyro.export.chains import Chains
from ib_pyro.export.file import arrays_in, engine_of, opened
from ib_pyro.export.names import as_labels
from ib_pyro.files import written_whole

__all__ = ["filled_tree"]

Labels = Mapping[str, Sequence[Any]]


def filled_tree(
    chains: Chains,
    specs: list[ArraySpec],
    *,
    path: Path | None,
    coords: Labels,
    row_labels: Mapping[str, np.ndarray],
    data_dim: str,
    attrs: Mapping[str, Any],
) -> Any:  # noqa: ANN401 (as the installed ArviZ has it)
    """Carry out an export, and return it as an ``InferenceData`` (ArviZ before 1) or an ``xarray.DataTree`` (since).

    Args:
        chains: What to draw from.
        specs: The arrays.
        path: File to write, which the result then reads from; None for memory.
        coords: The user's labels of dimensions; others are counted from 0.
        row_labels: More labels of the rows of x, by name.
        data_dim: Name of the dimension of rows.
        attrs: Attributes of every group.

    Raises:
        ValueError: If labels are given for an unknown dimension, in the wrong number or under a taken name, or a
            dimension has two sizes.
    """
    groups = _skeleton(specs, coords, attrs)
    _require_free_names(row_labels, specs)
    for name, group in groups.items():
        if data_dim in group.dims:
            groups[name] = group.assign_coords({label: (data_dim, v) for label, v in row_labels.items()})
    if path is not None:
        with written_whole(path) as partial, arrays_in(partial, specs, groups, chains.batch_size) as parts:
            chains.fill(parts, specs)
        return _open(path)
    arrays = {spec.key: np.empty(spec.held_shape, spec.dtype) for spec in specs}
    chains.fill(arrays, specs)
    for spec in specs:
        values = arrays[spec.key]
        if values.shape != spec.shape:
            values = np.broadcast_to(values, spec.shape)
        if spec.is_label:
            label = {spec.name: (spec.dims, values.astype(bool), spec.attrs)}
            groups[spec.group] = groups[spec.group].assign_coords(label)
        else:
            groups[spec.group] = groups[spec.group].assign({spec.name: (spec.dims, values, spec.attrs)})
    return _as_arviz(groups)


def _skeleton(specs: Sequence[ArraySpec], coords: Labels, attrs: Mapping[str, Any]) -> dict[str, xr.Dataset]:
    """Return each group's coordinates and attributes, and the root's attributes under ``"/"``."""
    given = {dim: as_labels(labels, f"coords[{dim!r}]") for dim, labels in coords.items()}
    sizes: dict[str, int] = {}
    groups: dict[str, dict[str, np.ndarray]] = {}
    for spec in specs:
        labels_of = groups.setdefault(spec.group, {})  # also where no variable has a dimension
        for dim, size in zip(spec.dims, spec.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                raise ValueError(
                    f"variable {spec.name!r}: dimension {dim!r} has size {size} here and {sizes[dim]} elsewhere; "
                    "rename one with dims="
                )
            labels_of[dim] = given.get(dim, np.arange(size))
    for dim, labels in given.items():
        if dim not in sizes:
            raise ValueError(f"coords: there is no dimension {dim!r}; there are {sorted(sizes)}")
        if len(labels) != sizes[dim]:
            raise ValueError(f"coords[{dim!r}]: {len(labels)} labels for {sizes[dim]} entries")
    datasets = {group: xr.Dataset(coords=c, attrs=dict(attrs)) for group, c in groups.items()}
    return {"/": xr.Dataset(attrs=dict(attrs)), **datasets}


def _require_free_names(row_labels: Mapping[str, np.ndarray], specs: Sequence[ArraySpec]) -> None:
    taken = {spec.name: f"a variable of the group {spec.group!r}" for spec in specs}
    taken |= {dim: "a dimension" for spec in specs for dim in spec.dims}
    for name in row_labels:
        if name in taken:
            raise ValueError(f"labels: {name!r} is {taken[name]} of the result already; choose another name")


def _as_arviz(groups: Mapping[str, xr.Dataset]) -> Any:  # noqa: ANN401
    if not _arviz_is_old():
        return xr.DataTree.from_dict(groups)
    import arviz

    named = {name: group for name, group in groups.items() if name != "/"}
    return arviz.InferenceData(attrs=groups["/"].attrs, **named)  # type: ignore[arg-type]


def _open(path: Path) -> Any:  # noqa: ANN401
    """Open a file of groups; its arrays are read when they are looked at."""
    tree = xr.open_datatree(opened(path), engine=engine_of(path))
    if not _arviz_is_old():
        return tree
    return _as_arviz({name: node.to_dataset() for name, node in [("/", tree), *tree.children.items()]})


def _arviz_is_old() -> bool:
    return int(version("arviz").split(".")[0]) < 1
