"""Entries of Pyro's parameter store that belong to a program: found, kept, and put back."""

from collections.abc import Iterable, Mapping

import pyro
import torch
from pyro.distributions import constraints as pyro_constraints
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from ib_pyro.choices import require_known

__all__ = [
    "PREFIX",
    "constraint_name",
    "entries",
    "put_entries_back",
    "require_entries_fit",
    "require_no_rival",
]

PREFIX = "pyro.param:"
"""What stands before the name of an entry among the tensors of a file."""


def entries(modules: Iterable[nn.Module], names: Iterable[str] | None, *, is_pair: bool) -> dict[str, Tensor]:
    """Return the unconstrained values of the entries to save, by name.

    Args:
        modules: The program's modules, whose parameters are saved as theirs.
        names: Names of the entries that are the program's; None if the user has not said.
        is_pair: Whether the program is two functions, whose modules may not all be known.

    Raises:
        ValueError: If the store holds entries that may be the program's, and it is not said whether they are; or has
            none of a name.
    """
    held = dict(pyro.get_param_store().named_parameters())
    if names is not None:
        return {require_known("params: entry of Pyro's store", name, held): held[name] for name in names}
    own = {id(parameter) for module in modules for parameter in module.parameters()}
    # What a module put there is a Parameter; of whose, a pair of functions does not always tell.
    unclear = [
        name
        for name, value in held.items()
        if id(value) not in own and (is_pair or not isinstance(value, nn.Parameter))
    ]
    if unclear:
        shown = [name.replace("$$$", ".") for name in unclear]
        raise ValueError(
            f"params: Pyro's store holds {shown}, which may be this program's (pyro.param) or another's; name those "
            f"to save, as params={unclear[:1]}, or pass params=[] for none"
        )
    return {}


def constraint_name(name: str) -> str:
    """Return what to call the constraint of an entry: its name among PyTorch's and Pyro's, or all that it says."""
    constraint = pyro.get_param_store().get_state()["constraints"][name]
    for known, other in _by_name().items():
        if other is constraint or (
            type(other) is type(constraint) and not vars(other) and not vars(constraint)
        ):
            return known
    return repr(constraint)


def require_entries_fit(saved: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
    """Raise a ValueError if an entry of the store is of another shape or constraint, or cannot be made of its name.

    Args:
        saved: Unconstrained values by name.
        names: What their constraints are called.
    """
    store = pyro.get_param_store()
    held = dict(store.named_parameters())
    for name, value in saved.items():
        if name in held and tuple(held[name].shape) != tuple(value.shape):
            raise ValueError(
                f"pyro.param {name!r}: shape {tuple(value.shape)} in the file and {tuple(held[name].shape)} in Pyro's "
                "store; pyro.clear_param_store() empties it"
            )
        if name in held and constraint_name(name) != names[name]:
            raise ValueError(
                f"pyro.param {name!r}: constraint {names[name]} in the file and {constraint_name(name)} in "
                "Pyro's store; pyro.clear_param_store() empties it"
            )
        if name not in held and names[name] not in _by_name():
            raise ValueError(
                f"pyro.param {name!r}: its constraint {names[name]} is none that has a name; run the program once, "
                "which puts the entry there, and load then"
            )


def put_entries_back(saved: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
    """Put values into Pyro's store, in the entries that are there or in new ones on the CPU.

    Args:
        saved: Unconstrained values by name.
        names: What their constraints are called.
    """
    store = pyro.get_param_store()
    for name, value in saved.items():
        if name not in store:
            constraint = _by_name()[names[name]]
            with torch.no_grad():
                store.setdefault(
                    name, torch.distributions.transform_to(constraint)(value.clone()), constraint
                )
        with torch.no_grad():
            # The value itself: through the constraint and back it would be another in its last digits.
            dict(store.named_parameters())[name].copy_(value)


def require_no_rival(modules: Iterable[nn.Module]) -> None:
    """Raise if Pyro's store holds another value under the name of a Pyro module's parameter, which would replace it.

    Raises:
        RuntimeError: Names the entry.
    """
    held = dict(pyro.get_param_store().named_parameters())
    for root in modules:
        for module in root.modules():
            title = getattr(module, "_pyro_name", "")
            for name, parameter in module.named_parameters(recurse=False):
                entry = f"{title}.{name}".removesuffix("_unconstrained").lstrip(".")
                if hasattr(module, "_pyro_params") and held.get(entry, parameter) is not parameter:
                    raise RuntimeError(
                        f"Pyro's store already holds {entry!r}, of another program, and would put its value in "
                        "the place of the loaded one; call pyro.clear_param_store() first"
                    )


def _by_name() -> dict[str, Constraint]:
    spaces = {**vars(constraints), **vars(pyro_constraints)}
    return {name: value for name, value in spaces.items() if isinstance(value, Constraint)}
