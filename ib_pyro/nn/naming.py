"""Names of the sites of layers: they belong to the programs that hold the layers."""

from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn

__all__ = ["GivesNames", "Holder", "hold", "name_by_holder", "names_given"]


class Holder(Protocol):
    """A program that has names for its layers."""

    def name_of(self, layer: nn.Module) -> str | None:
        """Return the program's name for a layer's site; None if the layer is not part of it."""


@runtime_checkable
class GivesNames(Protocol):
    """A module that has names for layers within it, such as those of the places where they were inserted."""

    @property
    def names_of_layers(self) -> dict[nn.Module, str]:
        """The names by layer."""


def names_given(root: nn.Module) -> dict[nn.Module, str]:
    """Return the names that modules give to layers within them."""
    names: dict[nn.Module, str] = {}
    for module in root.modules():
        # Asked of the class: an attribute of some modules is made when it is looked at.
        if hasattr(type(module), "names_of_layers") and isinstance(module, GivesNames):
            names |= module.names_of_layers
    return names


_HOLDERS: "WeakKeyDictionary[nn.Module, list[ref[Holder]]]" = WeakKeyDictionary()


def hold(layer: nn.Module, program: Holder) -> None:
    """Note that a program holds a layer, without keeping either alive."""
    holders = _HOLDERS.setdefault(layer, [])
    holders[:] = [holder for holder in holders if holder() is not None]
    if all(holder() is not program for holder in holders):
        holders.append(ref(program))


def name_by_holder(layer: nn.Module) -> str | None:
    """Return the name that the first living program which holds a layer has for it."""
    if torch.compiler.is_compiling():
        # Weak references that may die at any time are nothing that dynamo can guard.
        return None
    for holder in _HOLDERS.get(layer, ()):
        program = holder()
        name = None if program is None else program.name_of(layer)
        if name is not None:
            return name
    return None
