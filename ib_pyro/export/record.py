"""A record: the named tensors of one draw, by group, no two of one name."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor

__all__ = ["Key", "Quantity", "Record", "gather"]

Key = tuple[str, str]
"""Group and name of a variable."""


class Quantity(NamedTuple):
    """A tensor with the names of its dimensions, and what to say of it.

    Attributes:
        values: The tensor.
        dims: Names of its dimensions.
        attrs: What to say of it in the result.
        claimant: What it is, for an error: "the draws of site 'z1'".
    """

    values: Tensor
    dims: tuple[str, ...]
    attrs: Mapping[str, str] = MappingProxyType({})
    claimant: str = ""


Record = dict[Key, Quantity]


def gather(*parts: Iterable[tuple[Key, Quantity]]) -> Record:
    """Return named tensors as a record.

    Raises:
        ValueError: If two of a group have the same name; names both.
    """
    record: Record = {}
    for part in parts:
        for (group, name), quantity in part:
            if (group, name) in record:
                raise ValueError(
                    f"group {group!r}: {record[group, name].claimant} and {quantity.claimant} would both be called "
                    f"{name!r}, and one of them be lost; rename a site, or keep the values of one of the two alone "
                    "with sites="
                )
            record[group, name] = quantity
    return record
