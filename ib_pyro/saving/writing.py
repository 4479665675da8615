"""Saving a fitted program: its tensors, what it is made of, and where it comes from, in one file."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from ib_pyro._version import __version__
from ib_pyro.bottleneck import Bottleneck
from ib_pyro.files import written_whole
from ib_pyro.provenance import versions
from ib_pyro.saving.file_header import FileHeader, packed
from ib_pyro.saving.module_options import as_json, difference_of, options_of
from ib_pyro.saving.named_tensors import (
    ProgramLike,
    modules_of,
    name_of_program,
    named_tensors,
    shared_names,
)
from ib_pyro.saving.store_entries import PREFIX, constraint_name, entries

__all__ = ["save"]


def save(
    program: ProgramLike,
    path: str | PathLike[str],
    *,
    metadata: Mapping[str, Any] | None = None,
    factory: Callable[..., ProgramLike] | None = None,
    arguments: Mapping[str, Any] | None = None,
    params: Iterable[str] | None = None,
) -> None:
    """Write a program to a file that describes itself, without pickle.

    The file is in the format ``safetensors``, which other programs read too. It holds the parameters and buffers of
    the program's modules, wherever they are, bit by bit, and those that share their memory once. Its header
    (:func:`read_header`) holds their names, shapes and types, the sites, the class and plain options of every module
    (what no tensor says, such as ``activation`` or ``alpha_max``), the versions of ib_pyro, torch and Pyro, and the
    SHA-256 of all of it. Code is not in it, nor the mode (``train``, ``eval``), an optimiser, or a generator's state.
    It replaces what is at ``path`` in a single step, and only once all of it is written.

    Args:
        program: A :class:`~ib_pyro.Bottleneck` or any other module, or a pair ``(model, guide)``, whose modules are
            found as far as that can be seen (:func:`ib_pyro.buffers.modules_behind`).
        path: Where to, ``*.safetensors`` by custom; its folder must exist.
        metadata: More to keep with it, such as beta and the seed, of what JSON holds.
        factory: The function or class that makes such a program, and ``arguments``: :func:`ib_pyro.load` makes it
            anew of them if it is given the factory again. It is called once, to see that it makes a program of
            the same shape.
        arguments: Keyword arguments of the factory, of what JSON holds.
        params: Names of the entries of Pyro's parameter store (``pyro.param``) that are the program's, to keep too.
            Where the store holds any that may be, their names must be given, or ``[]`` for none.

    Raises:
        TypeError: If it is no program, or metadata or arguments hold what JSON does not.
        ValueError: If a tensor cannot be stored, entries of Pyro's store may be the program's, or the factory makes
            another program of the arguments.
        OSError: If it cannot be written; names ``path``.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from ib_pyro.nn import InformationDropout
    >>> from ib_pyro.saving import load, read_header
    >>> def make():
    ...     return Bottleneck(InformationDropout.linear(4, 3), nn.Linear(3, 2))
    >>> path = Path(tempfile.mkdtemp()) / "program.safetensors"
    >>> save(make(), path, metadata={"beta": 0.003})
    >>> read_header(path).sites, read_header(path).metadata
    (('z1',), {'beta': 0.003})
    >>> load(path, into=make()).stochastic_layers.keys()
    dict_keys(['z1'])
    """
    if arguments is not None and factory is None:
        raise TypeError("arguments: they are those of a factory; pass factory= too")
    modules = modules_of(program)
    tensors = named_tensors(modules)
    store = entries(modules.values(), params, is_pair=isinstance(program, tuple))
    tensors |= {PREFIX + name: value for name, value in store.items()}
    header = FileHeader(
        program=name_of_program(program),
        sites=_sites(modules.values()),
        shapes={name: tuple(tensor.shape) for name, tensor in tensors.items()},
        dtypes={name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()},
        shared=shared_names(tensors),
        store={name: constraint_name(name) for name in store},
        modules=options_of(modules),
        factory=None if factory is None else f"{factory.__module__}:{factory.__qualname__}",
        arguments=None if factory is None else as_json(arguments or {}, "arguments"),
        metadata=as_json(metadata or {}, "metadata"),
        versions={"ib_pyro": __version__, **versions("torch", "pyro-ppl")},
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if factory is not None:
        _require_same_program(factory, header, tensors)
    content = packed(header, {name: _copy(t) for name, t in tensors.items() if name not in header.shared})
    with written_whole(path) as partial:
        partial.write_bytes(content)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _sites(modules: Iterable[nn.Module]) -> tuple[str, ...]:
    return tuple(
        name for module in modules if isinstance(module, Bottleneck) for name in module.stochastic_layers
    )


def _require_same_program(
    factory: Callable[..., ProgramLike], header: FileHeader, tensors: Mapping[str, Tensor]
) -> None:
    """Raise unless the factory makes a program of this shape of the arguments as they are read back."""
    with torch.random.fork_rng(devices=[]):
        made = modules_of(factory(**(header.arguments or {})))
    shapes = {name: tuple(t.shape) for name, t in named_tensors(made, may_be_lazy=True).items()}
    expected = {name: shape for name, shape in header.shapes.items() if not name.startswith(PREFIX)}
    other = next((name for name in [*expected, *shapes] if shapes.get(name) != expected.get(name)), None)
    difference = (
        difference_of(header.modules, as_json(options_of(made), "modules"))
        if other is None
        else f"tensor {other!r} is {expected.get(other)} in the program and {shapes.get(other)} in the factory's"
    )
    if difference:
        raise ValueError(
            f"factory: {header.factory} makes another program of arguments={dict(header.arguments or {})}: "
            f"{difference.replace('in the file', 'in the program')}; pass the arguments that this one was made of"
        )
