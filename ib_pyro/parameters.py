"""Parameters of a program in Pyro's parameter store, which goes by name."""

from collections.abc import Mapping

import pyro
from pyro.params.param_store import param_with_module_name
from torch import Tensor, nn

__all__ = ["announce"]


def announce(modules: Mapping[str, nn.Module], announced: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put the parameters of modules into Pyro's store, in the place of those that the same program put there before.

    Args:
        modules: The modules by the name that their parameters get in the store.
        announced: What the last call returned: a parameter of these that a module no longer has, because it was
            exchanged, is taken out of the store.

    Returns:
        The parameters that are learned, by their name in the store.

    Raises:
        RuntimeError: If the store holds another parameter under one of the names, which it would optimise instead.
    """
    store = pyro.get_param_store()
    learned: dict[str, Tensor] = {
        param_with_module_name(name, path): parameter
        for name, module in modules.items()
        for path, parameter in module.named_parameters()
        if parameter.requires_grad
    }
    # Pyro's private mapping, since the public one makes a new tensor of each parameter.
    held = store._params
    for name, parameter in announced.items():
        if held.get(name) is parameter and learned.get(name) is not parameter:
            del store[name]
    for name, parameter in learned.items():
        if name in held and held[name] is not parameter:
            raise RuntimeError(_describe_clash(name))
    for name, module in modules.items():
        if next(module.parameters(), None) is not None:
            pyro.module(name, module)
    return learned


def _describe_clash(name: str) -> str:
    shown = name.replace("$$$", ".")
    module = name.partition("$$$")[0]
    return (
        f"Pyro's parameter store already holds {shown}, of another program or loaded from a file, and would optimise "
        f"that. To go on from what the store holds, call pyro.module({module!r}, program.{module}, "
        "update_module_params=True), and likewise for the program's other half; to start afresh, call "
        "pyro.clear_param_store(), or work within pyro.get_param_store().scope()"
    )
