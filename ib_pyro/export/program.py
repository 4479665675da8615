"""What is exported: a model and a guide, called without leaving a trace on the modules behind them."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ib_pyro.bottleneck import Bottleneck
from ib_pyro.buffers import modules_behind
from ib_pyro.export.types import ProgramLike

__all__ = ["Program", "resolve_program", "seeded", "warn_if_batch_norm_trains"]


@dataclass(frozen=True)
class Program:
    """A Pyro model and guide of the same arguments, and the modules that hold their parameters.

    Attributes:
        model: The model.
        guide: The guide.
        modules: Modules whose buffers an evaluation might change.
        is_amortised: Whether the guide's sites are known to be functions of x, so that x may be cut into batches.
        name: What to call the program in the result's attributes.
        num_data: Number of samples that it was fitted to, where it knows.
        takes_one_argument: Whether the program is known to take a single x.
    """

    model: Callable[..., Any]
    guide: Callable[..., Any]
    modules: tuple[nn.Module, ...]
    is_amortised: bool
    name: str
    num_data: int | None = None
    takes_one_argument: bool = False


def resolve_program(program: ProgramLike) -> Program:
    """Return the model and guide of a :class:`~ib_pyro.Bottleneck`, or of a pair ``(model, guide)``.

    Raises:
        TypeError: If it is neither.
    """
    if isinstance(program, tuple) and len(program) == 2 and all(map(callable, program)):
        model, guide = program
        modules = modules_behind(model, guide)
        return Program(model, guide, modules, is_amortised=False, name=_name_of(model))
    if isinstance(program, Bottleneck):
        sides, num_data = (program.model, program.guide), program.num_data
        facts: dict[str, Any] = {"name": "Bottleneck", "num_data": num_data, "takes_one_argument": True}
        return Program(*sides, (program,), is_amortised=True, **facts)
    raise TypeError(f"program must be a Bottleneck or a pair (model, guide); got {type(program).__name__}")


def warn_if_batch_norm_trains(modules: tuple[nn.Module, ...]) -> None:
    """Say so if batch norm normalises each batch by its own statistics."""
    if any(isinstance(m, _BatchNorm) and m.training for module in modules for m in module.modules()):
        warnings.warn(
            "batch norm is in training mode: each batch is normalised by its own statistics, so that the draws "
            "depend on batch_size; call program.eval() first to export with the running statistics",
            stacklevel=3,
        )


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Draw from generators seeded with ``seed`` inside, and put torch's ambient ones back afterwards.

    Args:
        seed: The seed; None draws from the ambient generators as they are.
        device: Where the program draws its noise.
    """
    if seed is None:
        yield
        return
    kind = "cuda" if device.type == "cpu" else device.type
    devices = range(getattr(torch, kind).device_count())
    with torch.random.fork_rng(devices, device_type=kind):
        torch.manual_seed(seed)
        yield


def _name_of(model: Callable[..., Any]) -> str:
    return getattr(model, "__name__", type(model).__name__)
