"""The tensors of a program by name: parameters and buffers of its modules, and which of them are one."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ib_pyro.bottleneck import Bottleneck
from ib_pyro.buffers import modules_behind

__all__ = ["ProgramLike", "modules_of", "name_of_program", "named_tensors", "put_back", "shared_names"]

ProgramLike = nn.Module | tuple[Callable[..., Any], Callable[..., Any]]
"""A module, such as a :class:`~ib_pyro.Bottleneck`, or a pair of a model and a guide."""

FITTING_TYPES = {
    "bfloat16", "bool", "float16", "float32", "float64", "float8_e4m3fn", "float8_e5m2", "int16", "int32", "int64",
    "int8", "uint16", "uint32", "uint64", "uint8",
}  # fmt: skip


def modules_of(program: ProgramLike) -> dict[str, nn.Module]:
    """Return the outermost modules of a program by what stands before the names of their tensors.

    Raises:
        TypeError: If it is no program.
    """
    if isinstance(program, nn.Module):
        return {"": program}
    if not (isinstance(program, tuple) and len(program) == 2 and all(map(callable, program))):
        raise TypeError(
            f"program must be a module, such as a Bottleneck, or a pair (model, guide); got {type(program).__name__}"
        )
    whole = getattr(program[0], "program", None)
    if whole is getattr(program[1], "program", None) and isinstance(whole, Bottleneck):
        return {"": whole}
    found = list(dict.fromkeys([*modules_behind(program[0]), *modules_behind(program[1])]))
    inner = {module for root in found for module in root.modules() if module is not root}
    roots = [module for module in found if module not in inner]
    return {"": roots[0]} if len(roots) == 1 else {f"module{i}.": root for i, root in enumerate(roots)}


def name_of_program(program: ProgramLike) -> str:
    """Return what to call a program: its class, or the names of model and guide."""
    sides = program if isinstance(program, tuple) else (program,)
    return ", ".join(getattr(side, "__name__", type(side).__name__) for side in sides)


def named_tensors(modules: Mapping[str, nn.Module], *, may_be_lazy: bool = False) -> dict[str, Tensor]:
    """Return what ``state_dict`` holds of the modules.

    Args:
        modules: The modules.
        may_be_lazy: Whether a tensor may have no shape yet.

    Raises:
        ValueError: If something of it is no tensor, or none that a file can hold; names it.
    """
    tensors = {}
    for prefix, module in modules.items():
        for name, value in module.state_dict().items():
            _require_storable(prefix + name, value, may_be_lazy=may_be_lazy)
            tensors[prefix + name] = value
    return tensors


def shared_names(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the names of tensors that are another one, and the first name of that one."""
    first: dict[tuple[Any, ...], str] = {}
    shared = {}
    for name, tensor in tensors.items():
        if is_lazy(tensor) or tensor.numel() == 0:
            continue
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        original = first.setdefault(place, name)
        if original != name:
            shared[name] = original
    return shared


def put_back(modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Copy values into the tensors of the modules, which keep their place, device and type.

    Args:
        modules: The modules.
        tensors: A value for each of their tensors.
    """
    for prefix, module in modules.items():
        own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        module.load_state_dict(own)


def _require_storable(name: str, value: object, *, may_be_lazy: bool) -> None:
    wrong = _fault(value, may_be_lazy=may_be_lazy)
    if wrong:
        raise ValueError(f"tensor {name!r}: {wrong}")


def _fault(value: object, *, may_be_lazy: bool) -> str:
    if not isinstance(value, Tensor):
        kind = type(value).__name__
        return f"it is a {kind}, which the module's get_extra_state gives and no such file holds; make it a buffer"
    if is_lazy(value):
        return "" if may_be_lazy else "it has no shape before the first batch; call the program once"
    if value.layout is not torch.strided or value.is_quantized:
        return f"it is no dense tensor ({value.layout}, {_name(value.dtype)}), which no such file holds; densify it"
    if value.is_meta:
        return "it is on the device 'meta' and has no values; materialise it first"
    if _name(value.dtype) not in FITTING_TYPES:
        return f"its type {_name(value.dtype)} is one that no such file holds; keep its real view as a buffer"
    return ""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
