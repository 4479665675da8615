"""What beside a program and its optimiser has a state in a fit: it goes into the checkpoint, or the fit is refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from torch import nn

from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.training.checkpoint import Stateful
from ib_pyro.training.one_device import OneDevice

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["TrainedBeside", "stateful_parts"]


class TrainedBeside:
    """What of an objective learns by steps that are not the fit's: whether anybody takes them.

    Args:
        elbo: The objective; None has no such part.
    """

    def __init__(self, elbo: InformationBottleneckELBO | None) -> None:
        parts = [] if elbo is None or elbo.gamma == 0 else list(_modules_of(elbo))
        self._parts = {
            id(module): (name, module, _versions(module)) for name, module in parts if _versions(module)
        }

    def warn_if_idle(self, stacklevel: int) -> None:
        """Warn of what has not changed since the beginning, once.

        Args:
            stacklevel: As of ``warnings.warn``, counted from who calls this.
        """
        for name, module, versions in self._parts.values():
            if _versions(module) == versions:
                kind = type(module).__name__
                warnings.warn(
                    f"{name}: the {kind} of the objective learns by steps of its own, and nobody took one in this "
                    "epoch, so that it knows nothing of z; call ib_pyro.information.critic_step in transform=, or, if "
                    "it was trained before, turn its gradients off, requires_grad_(False)",
                    stacklevel=stacklevel + 1,
                )
        self._parts = {}


def stateful_parts(
    program: nn.Module,
    elbo: InformationBottleneckELBO,
    devices: Fabric | OneDevice,
    also: Mapping[str, Stateful] | None,
) -> dict[str, Stateful]:
    """Collect what a checkpoint keeps beside a program and its optimiser.

    Args:
        program: What is fitted.
        elbo: The objective, whose estimators may learn.
        devices: Device and precision; one that scales the loss counts its steps.
        also: What the caller names.

    Returns:
        Objects with a state, by name.

    Raises:
        ValueError: If an estimator of the objective learns and is not named: what trains it has a state, too.
    """
    named = dict(also or {})
    kept = {id(p) for part in [program, *named.values()] for p in _parameters(part)}
    for name, module in _modules_of(elbo):
        if any(id(parameter) not in kept for parameter in module.parameters() if parameter.requires_grad):
            raise ValueError(
                f"checkpoint: {name} of the objective learns ({type(module).__name__}), and a fit that is resumed "
                "needs its parameters and what its optimiser remembers; name both, as also={'critic': critic, "
                "'critic optimizer': optimizer}, or pass no checkpoint"
            )
    if isinstance(devices, OneDevice) or not devices._precision.state_dict():
        return named
    return {**named, "precision": devices._precision}


def _parameters(part: object) -> Iterator[nn.Parameter]:
    if isinstance(part, nn.Module):
        yield from part.parameters()


def _versions(module: nn.Module) -> list[int]:
    """How often each parameter that learns was written to."""
    return [parameter._version for parameter in module.parameters() if parameter.requires_grad]


def _modules_of(elbo: InformationBottleneckELBO) -> Iterator[tuple[str, nn.Module]]:
    """Modules that the objective or one of its parts is or has, each with the name of the part."""
    for name, part in vars(elbo).items():
        parts = [part] if isinstance(part, nn.Module) else getattr(part, "__dict__", {}).values()
        for module in parts:
            if isinstance(module, nn.Module):
                yield name, module
