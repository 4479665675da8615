"""Hooks of modules and parameters, whose Python a replay does not run."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch.nn.modules.module as of_all_modules
from torch import Tensor, nn

from ib_pyro.capture.recording import CaptureError

__all__ = ["hooks_of", "require_no_hooks"]

OF_MODULES = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
OF_PARAMETERS = "_backward_hooks", "_post_accumulate_grad_hooks"
OF_ALL = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
)


def hooks_of(modules: Iterable[nn.Module], parameters: Iterable[Tensor]) -> list[Mapping[int, Any]]:
    """Return the mappings that hold hooks, most of them empty."""
    return [hooks for _, hooks in _hooks(modules, parameters)]


def require_no_hooks(modules: Iterable[nn.Module], parameters: Iterable[Tensor]) -> None:
    """Raise if there is a hook that may do what a graph of tensor operations does not.

    Those of :mod:`torch.nn.utils`, as of spectral norm, are tensor operations.

    Args:
        modules: The modules of a program.
        parameters: Its parameters.

    Raises:
        CaptureError: If there is one; names it and its owner.
    """
    for owner, hooks in _hooks(modules, parameters):
        for hook in hooks.values():
            home = getattr(hook, "__module__", None) or type(hook).__module__
            if not home.startswith("torch.nn.utils"):
                name = getattr(hook, "__qualname__", type(hook).__name__)
                raise CaptureError(
                    f"the program cannot be captured: {owner} has a hook, {name}, that a replay would not run; remove "
                    "it, or do without capture"
                )


def _hooks(
    modules: Iterable[nn.Module], parameters: Iterable[Tensor]
) -> Iterator[tuple[str, Mapping[int, Any]]]:
    for module in modules:
        for name in OF_MODULES:
            yield f"module {type(module).__name__}", module.__dict__[name]
    for parameter in parameters:
        for name in OF_PARAMETERS:
            hooks = getattr(parameter, name)
            if hooks is not None:
                yield f"a parameter of shape {tuple(parameter.shape)}", hooks
    for name in OF_ALL:
        yield "torch.nn.Module", getattr(of_all_modules, name)
