"""The object that the installed ArviZ works with."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ib_pyro.export.layout import ArraySpec
from ib_pyro.export.types import InferenceTree

__all__ = ["as_arviz", "open_arviz", "skeleton"]


def as_arviz(groups: Mapping[str, xr.Dataset], attrs: Mapping[Any, Any]) -> InferenceTree:
    """Return groups as an ``InferenceData`` (ArviZ before 1) or an ``xarray.DataTree`` (since).

    Args:
        groups: Datasets by the name of their group.
        attrs: Attributes of the whole.
    """
    if _arviz_is_old():
        import arviz

        return arviz.InferenceData(attrs=dict(attrs), **dict(groups))  # type: ignore[arg-type]
    tree = xr.DataTree.from_dict(dict(groups))
    tree.attrs = dict(attrs)
    return tree


def open_arviz(path: Path, engine: str) -> InferenceTree:
    """Open a file of groups; its arrays are read when they are looked at."""
    tree = xr.open_datatree(path, engine=engine)
    if _arviz_is_old():
        return as_arviz({name: child.to_dataset() for name, child in tree.children.items()}, dict(tree.attrs))
    return tree


def skeleton(
    specs: Sequence[ArraySpec], coords: Mapping[str, Any], attrs: Mapping[str, Any]
) -> dict[str, xr.Dataset]:
    """Return each group's coordinates and attributes, and the root's attributes under ``"/"``.

    Args:
        specs: The arrays.
        coords: The user's labels of dimensions; others are counted from 0.
        attrs: Attributes of every group.

    Raises:
        ValueError: If labels are given for an unknown dimension or in the wrong number, or a dimension has two sizes.
    """
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
            labels_of[dim] = np.asarray(coords.get(dim, np.arange(size)))
    for dim, labels in coords.items():
        if dim not in sizes:
            raise ValueError(f"coords: there is no dimension {dim!r}; there are {sorted(sizes)}")
        if len(labels) != sizes[dim]:
            raise ValueError(f"coords[{dim!r}]: {len(labels)} labels for {sizes[dim]} entries")
    datasets = {group: xr.Dataset(coords=c, attrs=dict(attrs)) for group, c in groups.items()}
    return {"/": xr.Dataset(attrs=dict(attrs)), **datasets}


def _arviz_is_old() -> bool:
    return int(version("arviz").split(".")[0]) < 1
