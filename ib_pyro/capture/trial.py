"""A program run to see what it does, with everything that it moves put back."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ib_pyro.buffers import buffers_kept
from ib_pyro.capture.loss_and_gradient import agree
from ib_pyro.capture.recording import CaptureError

__all__ = ["Trial", "seed_otherwise", "trial"]


@dataclass
class Trial:
    """What a run has left behind, before it was put back.

    Attributes:
        generators: The states of PyTorch's generators.
        buffers: The values of the buffers.
        parameters: The values of the parameters that were written to.
    """

    generators: list[Tensor] = field(default_factory=list)
    buffers: list[Tensor] = field(default_factory=list)
    parameters: dict[int, Tensor] = field(default_factory=dict)

    def difference(self, other: "Trial") -> str | None:
        """Say what another run has left otherwise."""
        if not all(map(torch.equal, self.generators, other.generators)):
            return "state of the random generator"
        if not all(map(agree, self.buffers, other.buffers)):
            return "buffer"
        if self.parameters.keys() != other.parameters.keys():
            return "parameter"
        if not all(agree(value, other.parameters[name]) for name, value in self.parameters.items()):
            return "parameter"
        return None


@contextmanager
def trial(
    modules: Sequence[nn.Module], parameters: Sequence[Tensor], arguments: Sequence[Tensor]
) -> Iterator[Trial]:
    """Run something, and put generators, buffers, parameters and arguments back.

    Raises:
        CaptureError: If a replay could not do what the run has done; names what.
    """
    devices = {tensor.device for tensor in parameters if tensor.device.type == "cuda"}
    seen, own = Trial(), [parameter.detach() for parameter in parameters]
    gradients = [parameter.grad for parameter in parameters]
    torch.clear_autocast_cache()
    with torch.random.fork_rng(devices), _python_generators_kept() as moved, buffers_kept(modules):
        buffers = [dict(module._buffers) for module in modules]
        with _WritesKept() as writes:
            try:
                yield seen
                _require_replayable(modules, buffers, moved(), writes, arguments, parameters, own, gradients)
                seen.generators = [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in devices)]
                seen.buffers = [b.clone() for held in buffers for b in held.values() if b is not None]
                written = [n for n, parameter in enumerate(parameters) if writes.has(parameter)]
                seen.parameters = {n: parameters[n].detach().clone() for n in written}
            finally:
                _put_back(parameters, own, gradients)
    torch.clear_autocast_cache()


def seed_otherwise(parameters: Sequence[Tensor]) -> None:
    """Give PyTorch's generators another seed within a trial, which puts the own one back.

    A program that reads the seed as a number, or the generator's state, then computes something else.

    Args:
        parameters: The program's parameters, on whose devices it draws.
    """
    seed = torch.initial_seed() ^ (2**64 - 1)  # another in every bit, of which a program may look at the last
    torch.default_generator.manual_seed(seed)
    for device in {tensor.device for tensor in parameters if tensor.device.type == "cuda"}:
        torch.cuda.default_generators[device.index].manual_seed(seed)


def _require_replayable(
    modules: Sequence[nn.Module],
    buffers: Sequence[Mapping[str, Any]],
    moved: str | None,
    writes: "_WritesKept",
    arguments: Sequence[Tensor],
    parameters: Sequence[Tensor],
    own: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
) -> None:
    why = None
    for module, held in zip(modules, buffers, strict=True):
        for name, buffer in held.items():
            if module._buffers.get(name) is not buffer:
                why = (
                    f"it puts another tensor in the place of buffer {name!r}; write into it, as copy_() does"
                )
    if moved:
        why = f"it draws from {moved}, as a replay would not; draw by PyTorch"
    if any(map(writes.has, arguments)):
        why = "it writes to an argument in place; let it write to a copy"
    if any(now.data_ptr() != then.data_ptr() for now, then in zip(parameters, own, strict=True)):
        why = "it puts other data in the place of a parameter's; write into it, as copy_() does"
    pairs = list(zip(parameters, gradients, strict=True))
    if any(p.grad is not grad or (grad is not None and writes.has(grad)) for p, grad in pairs):
        why = "it accumulates gradients itself, as backward() does; use torch.autograd.grad"
    if why:
        raise CaptureError(f"the program cannot be captured: {why}, or do without capture")


def _put_back(
    parameters: Sequence[Tensor], own: Sequence[Tensor], gradients: Sequence[Tensor | None]
) -> None:
    for parameter, data, gradient in zip(parameters, own, gradients, strict=True):
        if parameter.data_ptr() != data.data_ptr():
            parameter.data = data
        if parameter.grad is not gradient:
            parameter.grad = gradient


@contextmanager
def _python_generators_kept() -> Iterator[Any]:
    """Put the generators of ``random`` and NumPy back; gives a function that says which has moved."""
    python, numpy = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002  (the program's)

    def moved() -> str | None:
        if random.getstate() != python:
            return "Python's random numbers"
        now = np.random.get_state(legacy=False)  # noqa: NPY002
        same = now["state"]["pos"] == numpy["state"]["pos"] and (
            np.array_equal(now["state"]["key"], numpy["state"]["key"])
        )
        return None if same else "NumPy's random numbers"

    try:
        yield moved
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


class _WritesKept(TorchDispatchMode):
    """Note which tensors from outside are written to, and put their values back afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self._made: set[int] = set()
        self._kept: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def has(self, tensor: Tensor) -> bool:
        """Whether a tensor's memory was written to."""
        return tensor.layout is torch.strided and tensor.untyped_storage()._cdata in self._kept

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401  (an overload of an operation)
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (whatever the operation returns)
        with torch._C.DisableTorchFunction():
            return self._dispatch(func, args, kwargs or {})

    def _dispatch(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401  (the same)
        given = {s._cdata: s for s in _storages((args, kwargs))}
        if func._schema.is_mutable:
            for argument, value in zip(func._schema.arguments, args, strict=False):
                if argument.alias_info is not None and argument.alias_info.is_write:
                    self._keep(value)
            for argument in func._schema.arguments:
                if (
                    argument.name in kwargs
                    and argument.alias_info is not None
                    and argument.alias_info.is_write
                ):
                    self._keep(kwargs[argument.name])
        results = func(*args, **kwargs)
        self._made |= {s._cdata for s in _storages(results)} - given.keys()
        return results

    def _keep(self, value: object) -> None:
        for storage in _storages(value):
            if storage._cdata not in self._made and storage._cdata not in self._kept:
                with no_dispatch():  # where a recording is on, it is no part of that
                    self._kept[storage._cdata] = storage, storage.clone()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for storage, before in self._kept.values():
            if storage.nbytes() == before.nbytes():
                storage.copy_(before)


def _storages(values: object) -> list[torch.UntypedStorage]:
    tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
    return [t.untyped_storage() for t in tensors if t.layout is torch.strided and not t.is_quantized]
