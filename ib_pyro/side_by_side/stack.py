"""Several programs of one structure, whose parameters and buffers lie side by side in memory."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ib_pyro.side_by_side.refusal import VectorizationError

__all__ = ["Lifted", "Stack"]


class Lifted(NamedTuple):
    """An attribute of a module that differs between the programs.

    Attributes:
        module: The module of the first program.
        path: Its path there.
        name: The attribute.
        values: Its values, ``[runs, ...]``.
    """

    module: nn.Module
    path: str
    name: str
    values: Tensor


class Stack:
    """Programs of one structure as one, with tensors ``[runs, ...]`` for its parameters and buffers.

    As long as the stack is held, the parameters and buffers of the programs are views of those tensors: what is done
    to one is done to the other. Numbers that layers have as attributes, such as the strength of a noise, may differ.

    Args:
        programs: The programs.
        names: What each is called.

    Attributes:
        parameters: The parameters that are learned, by name.
        others: Buffers, and parameters that are not learned.
        lifted: The attributes that differ.

    Raises:
        VectorizationError: If the structures differ, or two programs share a module; names the module.
    """

    def __init__(self, programs: Sequence[nn.Module], names: Sequence[str]) -> None:
        self.programs, self.template = tuple(programs), programs[0]
        for program, name in zip(self.programs[1:], names[1:], strict=True):
            _require_same_structure(self.template, program, names[0], name)
        _require_apart(self.programs)
        self.lifted = self._find_lifted(names)
        self.parameters: dict[str, Tensor] = {}
        self.others: dict[str, Tensor] = {}
        for name, tensor in (*self.template.named_parameters(), *self.template.named_buffers()):
            home = self.parameters if tensor.requires_grad else self.others
            home[name] = self._stacked(name, tensor)
        by_name = dict((*self.template.named_parameters(), *self.template.named_buffers()))
        found = _places_of_tensors(self.template)
        self._places = [found[id(by_name[name])] for name in (*self.parameters, *self.others)]

    @property
    def like(self) -> Tensor:
        """A tensor of the type and on the device that the programs compute in."""
        floats = [t for t in self.parameters.values() if t.is_floating_point()]
        return floats[0] if floats else torch.zeros(())

    def finite_runs(self) -> list[bool]:
        """Whether all tensors of each run are finite."""
        tensors = [t for t in (*self.parameters.values(), *self.others.values()) if t.is_floating_point()]
        columns = [t.isfinite().reshape(len(t), -1).all(1) for t in tensors if t.numel()]
        return torch.stack(columns).all(0).tolist() if columns else [True] * len(self.programs)

    def release(self) -> None:
        """Give each program memory of its own again."""
        for program in self.programs:
            for tensor in (*program.parameters(), *program.buffers()):
                tensor.data = tensor.data.clone(memory_format=torch.preserve_format)

    @contextmanager
    def as_run(self, tensors: Sequence[Tensor], values: Sequence[Tensor]) -> Iterator[None]:
        """Let the template have one run's tensors and attributes.

        Args:
            tensors: Those of :attr:`parameters` and :attr:`others`, in their order.
            values: Those of :attr:`lifted`.
        """
        places = [(place, t) for places, t in zip(self._places, tensors, strict=True) for place in places]
        # Past what a layer checks of an attribute, which would look at a value.
        places += [((vars(e.module), e.name), value) for e, value in zip(self.lifted, values, strict=True)]
        before = [held[name] for (held, name), _ in places]
        try:
            for (held, name), tensor in places:
                held[name] = tensor
            yield
        finally:
            for ((held, name), _), old in zip(places, before, strict=True):
                held[name] = old

    def _stacked(self, name: str, like: Tensor) -> Tensor:
        parts = [_tensor_of(program, name) for program in self.programs]
        shape = (len(parts), *like.shape)
        # Each part keeps its own layout, such as channels last, if it has no gaps.
        dense = torch.empty_like(like).stride() == like.stride()
        strides = (max(like.numel(), 1), *like.stride())
        whole = torch.empty_strided(shape, strides, dtype=like.dtype, device=like.device)
        whole = whole if dense else torch.empty(shape, dtype=like.dtype, device=like.device)
        for part, place in zip(parts, whole.unbind(), strict=True):
            place.copy_(part.detach())
            part.data = place
        return whole

    def _find_lifted(self, names: Sequence[str]) -> list[Lifted]:
        found = []
        like = next((p for p in self.template.parameters() if p.is_floating_point()), torch.zeros(()))
        for path, module in self.template.named_modules():
            others = [program.get_submodule(path) for program in self.programs]
            for name in vars(module):
                if name == "training":
                    continue
                values = [vars(other).get(name) for other in others]
                where = f"{path or 'the program'}.{name}"
                lifted = _lift(where, values, names, like)
                if lifted is not None:
                    found.append(Lifted(module, path, name, lifted))
        return found


def _lift(where: str, values: Sequence[Any], names: Sequence[str], like: Tensor) -> Tensor | None:
    """Return values that differ as one tensor; None if they do not, or are caches of whoever has them.

    Raises:
        VectorizationError: If they differ and cannot be a tensor.
    """
    first, *others = values
    if all(map(_is_number, values)) and any(isinstance(value, float) for value in values):
        if len(set(values)) == 1:
            return None
        if not all(map(math.isfinite, values)):
            raise VectorizationError(
                f"{where} is {list(values)}; side by side, numbers that differ are finite"
            )
        return torch.tensor([float(value) for value in values], dtype=like.dtype, device=like.device)
    if all(isinstance(value, Tensor) and value.shape == first.shape for value in values):
        is_same = all(torch.equal(value, first) for value in others)
        return None if is_same else torch.stack([value.detach() for value in values])
    if not where.rpartition(".")[2].startswith("_"):
        for value, name in zip(others, names[1:], strict=True):
            if type(value) is not type(first) or (_is_plain(first) and value != first):
                raise VectorizationError(
                    f"{where} is {_short(first)} in {names[0]} and {_short(value)} in {name}; side by side, programs "
                    "may differ in tensors and in attributes that are floating-point numbers: train these runs apart"
                )
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float | bool | None)


def _short(value: object) -> str:
    return repr(value) if _is_plain(value) else f"a {type(value).__name__}"


def _require_same_structure(first: nn.Module, other: nn.Module, first_name: str, other_name: str) -> None:
    """Raise unless two programs have the same modules, parameters and buffers; names the first that differs."""
    for kind, one, two in (
        ("module", _kinds_of_modules(first), _kinds_of_modules(other)),
        ("parameter or buffer", _kinds_of_tensors(first), _kinds_of_tensors(other)),
    ):
        for path in {**one, **two}:
            if one.get(path) != two.get(path):
                raise VectorizationError(
                    f"{path or 'the program'}: the {kind} is {one.get(path, 'not there')} in {first_name} and "
                    f"{two.get(path, 'not there')} in {other_name}; side by side, all programs have one structure: "
                    "train runs of each structure apart"
                )


def _kinds_of_modules(program: nn.Module) -> dict[str, str]:
    modules = program.named_modules(remove_duplicate=False)
    return {
        path: f"{type(m).__name__} in {'training' if m.training else 'evaluation'}" for path, m in modules
    }


def _kinds_of_tensors(program: nn.Module) -> dict[str, str]:
    found = (*program.named_parameters(), *program.named_buffers())
    return {
        path: f"{str(t.dtype).removeprefix('torch.')}{list(t.shape)} on {t.device}{', learned' * t.requires_grad}"
        for path, t in found
    }


def _require_apart(programs: Sequence[nn.Module]) -> None:
    seen: dict[int, str] = {}
    for program in programs:
        mine = {id(t): name for name, t in (*program.named_parameters(), *program.named_buffers())}
        for tensor, name in mine.items():
            if tensor in seen:
                raise VectorizationError(
                    f"{name}: two of the programs share it; let make_program build each program anew"
                )
        seen.update(mine)


def _places_of_tensors(program: nn.Module) -> dict[int, list[tuple[dict[str, Any], str]]]:
    """Return where each tensor is registered, by its address: tied ones in several places."""
    found: dict[int, list[tuple[dict[str, Any], str]]] = {}
    for module in program.modules():
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                found.setdefault(id(tensor), []).append((held, name))
    return found


def _tensor_of(program: nn.Module, name: str) -> Tensor:
    path, _, last = name.rpartition(".")
    tensor: Tensor = getattr(program.get_submodule(path), last)
    return tensor
